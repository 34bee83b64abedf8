// tokenizer.json of a Hugging Face folder as a GGUF's `tokenizer.ggml.*`, by the keys and conventions of llama.cpp's converter.
import path from 'node:path';
import { StringTableBuilder } from '../gguf/string-table';
import type { GgufValue } from '../gguf/writer';
import { TokenType } from '../tokenizer/tokenizer';
import { JsonObject, readJson, readText } from './json';
import { shown } from './safetensors';

/** llama.cpp's names of pre-tokenizers by the pattern that tokenizer.json splits with, spaces and all. */
const PATTERNS: Record<string, string> = {
	[[
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?`,
		String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?`,
		String.raw`\p{N}{1,3}`,
		String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*`,
		String.raw`\s*[\r\n]+`,
		String.raw`\s+(?!\S)`,
		String.raw`\s+`,
	].join('|')]: 'gpt-4o',
	[gptPattern(String.raw`\p{N}{1,3}`)]: 'llama-bpe',
	[gptPattern(String.raw`\p{N}`)]: 'qwen2',
};

function gptPattern(numbers: string): string {
	return [
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
		String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`,
		numbers,
		String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`,
		String.raw`\s*[\r\n]+`,
		String.raw`\s+(?!\S)`,
		String.raw`\s+`,
	].join('|');
}

/** Tokens that begin the parts of a fill-in-the-middle prompt, by GGUF key. */
const FILL_IN_TOKENS: Record<string, readonly string[]> = {
	fim_pre: ['<|fim_prefix|>', '<fim_prefix>', '<fim-prefix>', '<PRE>'],
	fim_suf: ['<|fim_suffix|>', '<fim_suffix>', '<fim-suffix>', '<SUF>'],
	fim_mid: ['<|fim_middle|>', '<fim_middle>', '<fim-middle>', '<MID>'],
	fim_pad: ['<|fim_pad|>', '<fim_pad>', '<fim-pad>', '<PAD>'],
	fim_rep: ['<|fim_repo|>', '<|repo_name|>', '<repo_name>', '<reponame>', '<fim-repo>', '<REPO>'],
	fim_sep: ['<|file_sep|>', '<file_sep>'],
};

/** Each is text in tokenizer_config.json, an id in config.json and generation_config.json. */
const SPECIAL_TOKENS = { bos: 'bos', eos: 'eos', pad: 'padding', unk: 'unknown' } as const;

/**
 * Adds the tokenizer of `folder` to `metadata`.
 * @param config the model's config.json, which has ids that the tokenizer's own files may lack.
 * @throws an error of one line naming the file and what in it cannot be mapped.
 */
export async function addTokenizer(
	metadata: Map<string, GgufValue>,
	folder: string,
	config: JsonObject,
	vocabularySize: number,
): Promise<void> {
	const tokenizer = await readJson(folder, 'tokenizer.json');
	if (!tokenizer) throw new Error(`${folder} lacks tokenizer.json`);
	const own = await readJson(folder, 'tokenizer_config.json');
	const generation = await readJson(folder, 'generation_config.json');
	const model = tokenizer.object('model');
	const kind = model.string('type', 'BPE');
	if (kind !== 'BPE')
		throw new Error(`${tokenizer.file}: a tokenizer of the type ${shown(kind)} is not supported; BPE is`);
	metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
	metadata.set('tokenizer.ggml.pre', { type: 'string', value: preTokenizer(tokenizer, model) });
	const { ids, tokens, types } = readVocabulary(tokenizer, model, vocabularySize);
	metadata.set('tokenizer.ggml.tokens', { type: 'strings', value: tokens.build() });
	metadata.set('tokenizer.ggml.token_type', { type: 'i32s', value: types });
	metadata.set('tokenizer.ggml.merges', { type: 'strings', value: readMerges(model).build() });

	const setId = (key: string, id: number) => {
		if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
			throw new Error(`${folder}: the ${key} token is ${id}, which is not in the vocabulary of ${vocabularySize}`);
		}
		metadata.set(`tokenizer.ggml.${key}_token_id`, { type: 'u32', value: id });
	};
	for (const [name, key] of Object.entries(SPECIAL_TOKENS)) {
		const text = tokenText(own?.get(`${name}_token`));
		const named = text === undefined ? undefined : ids.get(text);
		const given = config.get(`${name}_token_id`) ?? generation?.get(`${name}_token_id`);
		const id = named ?? (Array.isArray(given) ? given[0] : given);
		if (id !== undefined) setId(key, id as number);
	}
	for (const [key, names] of Object.entries(FILL_IN_TOKENS)) {
		const name = names.find((candidate) => ids.has(candidate));
		if (name !== undefined) setId(key, ids.get(name)!);
	}
	const addsBos = own?.get('add_bos_token') ?? templateAddsBos(tokenizer, tokenText(own?.get('bos_token')));
	if (typeof addsBos === 'boolean') metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: addsBos });
	const addsEos = own?.get('add_eos_token');
	if (typeof addsEos === 'boolean') metadata.set('tokenizer.ggml.add_eos_token', { type: 'bool', value: addsEos });
	const template = (await readText(path.join(folder, 'chat_template.jinja'))) ?? chatTemplate(own);
	if (template !== undefined) metadata.set('tokenizer.chat_template', { type: 'string', value: template });
}

function readVocabulary(
	tokenizer: JsonObject,
	model: JsonObject,
	size: number,
): { ids: Map<string, number>; tokens: StringTableBuilder; types: Int32Array } {
	const texts: (string | undefined)[] = new Array(size);
	const types = new Int32Array(size).fill(TokenType.unused);
	const ids = new Map<string, number>();
	const enter = (text: string, id: unknown, type: number) => {
		if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= size) {
			throw new Error(
				`${tokenizer.file}: token ${shown(text)} has the id ${id}, which is not in the vocabulary of ${size} that config.json gives`,
			);
		}
		texts[id] = text;
		types[id] = type;
		ids.set(text, id);
	};
	for (const [text, id] of Object.entries(model.object('vocab').values)) enter(text, id, TokenType.normal);
	for (const entry of tokenizer.has('added_tokens') ? tokenizer.array('added_tokens') : []) {
		const { content, id, special } = (entry ?? {}) as Record<string, unknown>;
		if (typeof content !== 'string') throw new Error(`${tokenizer.file}: an added token has no content`);
		enter(content, id, special === true || looksSpecial(content) ? TokenType.control : TokenType.userDefined);
	}
	const tokens = new StringTableBuilder();
	for (let id = 0; id < size; id++) tokens.add(texts[id] ?? `[PAD${id}]`);
	return { ids, tokens, types };
}

/** Added tokens that are control tokens whatever their entry says (llama.cpp's `does_token_look_special`). */
function looksSpecial(text: string): boolean {
	return /^(<\|.*\|>|<｜.*｜>|<pad>|<mask>|<unused\d+>)$/s.test(text);
}

function readMerges(model: JsonObject): StringTableBuilder {
	const merges = new StringTableBuilder();
	// A space inside a part, in the byte-level alphabet.
	const part = (text: string) => text.replaceAll(' ', 'Ġ');
	for (const [line, merge] of model.array('merges').entries()) {
		const [left, right] = Array.isArray(merge) && merge.length === 2 ? (merge as unknown[]) : [];
		if (typeof merge === 'string') merges.add(merge);
		else if (typeof left === 'string' && typeof right === 'string') merges.add(`${part(left)} ${part(right)}`);
		else throw new Error(`${model.file}: model.merges[${line}] is neither "left right" nor a pair`);
	}
	return merges;
}

/** llama.cpp's name for how text is cut before merging. */
function preTokenizer(tokenizer: JsonObject, model: JsonObject): string {
	if (model.get('byte_fallback') === true) {
		throw new Error(`${tokenizer.file} is a SentencePiece tokenizer, which is not supported; byte-level BPE is`);
	}
	for (const normalizer of steps(tokenizer.optionalObject('normalizer'), 'normalizers')) {
		const type = normalizer.string('type');
		// Byte-level vocabularies of NFC text; llama.cpp leaves text as it is, too.
		if (type !== 'NFC') throw new Error(`${tokenizer.file}: the normalizer ${shown(type)} is not supported`);
	}
	let name: string | undefined;
	for (const step of steps(tokenizer.optionalObject('pre_tokenizer'), 'pretokenizers')) {
		const type = step.string('type');
		if (type === 'Split') {
			const pattern = step.object('pattern').string('Regex', '');
			name = Object.hasOwn(PATTERNS, pattern) ? PATTERNS[pattern] : undefined;
			if (!name) throw new Error(`${tokenizer.file}: text is split by an unknown pattern, ${shown(pattern)}`);
		} else if (type === 'Digits' && step.get('individual_digits') === true) {
			name = 'smollm';
		} else if (type === 'ByteLevel') {
			if (step.get('add_prefix_space') === true) {
				throw new Error(`${tokenizer.file}: a space before all text (add_prefix_space) is not supported`);
			}
			name ??= 'gpt-2';
		} else {
			throw new Error(`${tokenizer.file}: the pre-tokenizer ${shown(type)} is not supported`);
		}
	}
	if (!name) throw new Error(`${tokenizer.file} names no pre-tokenizer; it is no byte-level BPE`);
	return name;
}

/** The steps of a normalizer or pre-tokenizer, alone or in a sequence. */
function steps(outer: JsonObject | undefined, key: string): JsonObject[] {
	if (!outer) return [];
	if (outer.get('type') !== 'Sequence') return [outer];
	return outer.array(key).map((step, i) => {
		if (typeof step !== 'object' || step === null) throw outer.fail(`${key}[${i}]`, 'an object');
		return new JsonObject(outer.file, step as Record<string, unknown>, `${key}[${i}].`);
	});
}

/** Whether the post-processor puts the first token before every text, as Llama 3's does. */
function templateAddsBos(tokenizer: JsonObject, bos: string | undefined): boolean | undefined {
	if (bos === undefined) return undefined;
	for (const step of steps(tokenizer.optionalObject('post_processor'), 'processors')) {
		if (step.get('type') !== 'TemplateProcessing') continue;
		const first = step.array('single')[0] as { SpecialToken?: { id?: unknown } } | undefined;
		if (first?.SpecialToken?.id === bos) return true;
	}
	return undefined;
}

function tokenText(value: unknown): string | undefined {
	if (typeof value === 'string') return value;
	const content = (value as { content?: unknown } | undefined)?.content;
	return typeof content === 'string' ? content : undefined;
}

function chatTemplate(own: JsonObject | undefined): string | undefined {
	const value = own?.get('chat_template');
	if (typeof value === 'string') return value;
	if (!Array.isArray(value)) return undefined;
	const named = value.find((entry) => (entry as { name?: unknown } | null)?.name === 'default');
	const template = (named as { template?: unknown } | undefined)?.template;
	return typeof template === 'string' ? template : undefined;
}
