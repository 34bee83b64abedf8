// Maps tokenizer.json of a Hugging Face folder to a GGUF's `tokenizer.ggml.*`, with the keys and conventions of
// llama.cpp's converter.
import type { MetadataValue, StringTable } from '../../native/index';
import { StringTableBuilder, stringTable } from '../gguf/string-table';
import type { GgufValue } from '../gguf/writer';
import { messageOf } from '../quote';
import { byteToCodePoint } from '../tokenizer/byte-level';
import { ByteLevelBpe } from '../tokenizer/byte-level-bpe';
import { END_NAMES, FILL_NAMES, FILL_NAMES_OF_CONVERSION, type FillKind } from '../tokenizer/control-names';
import { NORMALIZER_KEY } from '../tokenizer/normalizer';
import { preTokenizerOf } from '../tokenizer/pre-tokenizer';
import { TokenType } from '../tokenizer/token-type';
import { Tokenizer } from '../tokenizer/tokenizer';
import { JsonObject } from './json';
import { shown } from './safetensors';
import { MOST_TEMPLATE_BYTES, type SourceFolder } from './source-folder';
import { normalizesToNfc, onlyKeys, preTokenizerName, steps } from './text-splitting';

/**
 * Special tokens, with their names in a GGUF's keys. tokenizer_config.json names each as text; config.json and
 * generation_config.json name it by its id.
 */
const SPECIAL_TOKENS = { bos: 'bos', eos: 'eos', pad: 'padding', unk: 'unknown' } as const;

/** Whether valid UTF-8 never has the byte. Some vocabularies lack tokens for such bytes. */
const isNeverUtf8 = (byte: number) => byte === 0xc0 || byte === 0xc1 || byte >= 0xf5;

/** A vocabulary, by text and by id. */
interface SourceVocabulary {
	ids: Map<string, number>;
	texts: (string | undefined)[];
	types: Int32Array;
}

/**
 * Adds the tokenizer of a folder to `metadata`.
 * @param config the model's config.json. It may have ids that the tokenizer's own files lack.
 * @throws an error of one line naming the file, and what in it cannot be mapped.
 */
export async function addTokenizer(
	metadata: Map<string, GgufValue>,
	source: SourceFolder,
	config: JsonObject,
	vocabularySize: number,
): Promise<void> {
	const tokenizer = await source.json('tokenizer.json');
	if (!tokenizer) throw new Error(`${source.path} lacks tokenizer.json`);
	const own = await source.json('tokenizer_config.json');
	const names = await source.json('special_tokens_map.json');
	const generation = await source.json('generation_config.json');
	const template = (await source.text('chat_template.jinja')) ?? chatTemplate(own);
	if (own && template !== undefined && template.length > MOST_TEMPLATE_BYTES) {
		throw new Error(`${own.file}: chat_template has ${template.length} characters, which no template needs`);
	}

	const model = tokenizer.object('model');
	checkModel(tokenizer, model);
	if (normalizesToNfc(tokenizer)) metadata.set(NORMALIZER_KEY, { type: 'string', value: 'NFC' });
	const pre = preTokenizerName(tokenizer);
	// transformers' class for GPT-2 takes this option from tokenizer_config.json, and not from tokenizer.json.
	if (own?.get('add_prefix_space') === true && tokenizer.optionalObject('pre_tokenizer')?.get('type') === 'ByteLevel') {
		throw own.unsupported('add_prefix_space');
	}
	metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
	metadata.set('tokenizer.ggml.pre', { type: 'string', value: pre });
	const vocabulary = readVocabulary(tokenizer, model, vocabularySize);
	addTokensOf(vocabulary, tokenizer.has('added_tokens') ? tokenizer.objects('added_tokens') : []);
	addTokensOf(vocabulary, own?.has('added_tokens_decoder') ? decoderEntries(own) : []);
	checkAddedTokens(vocabulary, await source.json('added_tokens.json'));
	const { ids, texts, types } = vocabulary;
	const tokens = stringTable(Array.from({ length: vocabularySize }, (_, id) => texts[id] ?? `[PAD${id}]`));
	metadata.set('tokenizer.ggml.tokens', { type: 'strings', value: tokens });
	metadata.set('tokenizer.ggml.token_type', { type: 'i32s', value: types });
	metadata.set('tokenizer.ggml.merges', { type: 'strings', value: readMerges(model) });
	checkUnknown(model, ids);

	const setId = (key: string, id: number) => {
		if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
			throw new Error(`${source.path}: the ${key} token is ${id}, which is not in the vocabulary of ${vocabularySize}`);
		}
		metadata.set(`tokenizer.ggml.${key}_token_id`, { type: 'u32', value: id });
	};
	const nameOf = (kind: string) => tokenText(own?.get(`${kind}_token`)) ?? tokenText(names?.get(`${kind}_token`));
	for (const [kind, key] of Object.entries(SPECIAL_TOKENS)) {
		const text = nameOf(kind);
		const named = text === undefined ? undefined : ids.get(text);
		const listed = [config, generation].flatMap((file) => tokenIds(file, `${kind}_token_id`, kind === 'eos'));
		const id = named ?? listed[0];
		if (id === undefined) {
			// A missing padding token does no harm here. A missing end token would.
			if (text === undefined || kind === 'pad' || kind === 'unk') continue;
			throw new Error(`${source.path}: ${kind}_token is ${shown(text)}, which is not in the vocabulary`);
		}
		setId(key, id);
		if (kind === 'eos') addOtherEnds(vocabulary, id, listed, setId, source.path);
	}
	for (const [kind, usual] of Object.entries(FILL_NAMES)) {
		const candidates = [...usual, ...(FILL_NAMES_OF_CONVERSION[kind as FillKind] ?? [])];
		const name = candidates.find((candidate) => ids.has(candidate));
		if (name !== undefined) setId(`fim_${kind}`, ids.get(name)!);
	}
	const around = readTemplate(tokenizer, ids);
	for (const [kind, key] of [
		['bos', 'first'],
		['eos', 'last'],
	] as const) {
		const adds = own?.has(`add_${kind}_token`)
			? own.boolean(`add_${kind}_token`, false)
			: around[key] !== undefined || (kind === 'bos' && addsBosByClass(own));
		// Some pre-tokenizers' names imply a token at the beginning, so the file always says whether there is one.
		metadata.set(`tokenizer.ggml.add_${kind}_token`, { type: 'bool', value: adds });
		if (!adds) continue;
		const id = around[key] ?? (metadata.get(`tokenizer.ggml.${kind}_token_id`)?.value as number | undefined);
		if (id === undefined) throw new Error(`${source.path}: add_${kind}_token is true, but no ${kind}_token is named`);
		setId(kind, id);
	}
	if (template !== undefined) metadata.set('tokenizer.chat_template', { type: 'string', value: template });
	checkWholeTokens(metadata, model, pre);
}

/** @throws where the model is not a byte-level BPE, or has an option that changes its tokens. */
function checkModel(tokenizer: JsonObject, model: JsonObject): void {
	const kind = model.string('type', 'BPE');
	if (kind !== 'BPE') {
		throw new Error(`${tokenizer.file}: a tokenizer of the type ${shown(kind)} is not supported; BPE is`);
	}
	if (model.boolean('byte_fallback', false)) {
		throw new Error(`${tokenizer.file} is a SentencePiece tokenizer, which is not supported; byte-level BPE is`);
	}
	// `checkUnknown` checks unk_token. fuse_unk changes nothing where no text becomes the unknown token.
	onlyKeys(model, 'vocab', 'merges', 'unk_token', 'fuse_unk', 'byte_fallback', 'ignore_merges');
}

/** @throws where some byte has no token and would become the unknown token. */
function checkUnknown(model: JsonObject, ids: ReadonlyMap<string, number>): void {
	if (model.isNeutral('unk_token')) return;
	for (const [byte, codePoint] of byteToCodePoint.entries()) {
		if (isNeverUtf8(byte) || ids.has(String.fromCodePoint(codePoint))) continue;
		throw new Error(
			`${model.file}: model.unk_token is ${shown(String(model.get('unk_token')))} and byte ${byte} has no token, which is not supported`,
		);
	}
}

/**
 * @throws where the tokenizer and llama.cpp's pre-tokenizer of that name disagree on whether pieces that are tokens
 * skip the merges, and a token shows the difference.
 */
function checkWholeTokens(metadata: ReadonlyMap<string, GgufValue>, model: JsonObject, pre: string): void {
	const values = [...metadata].map(([key, { value }]) => [key, value] as const);
	const header = { version: 3, fileBytes: 0, metadata: new Map<string, MetadataValue>(values), tensors: [] };
	const { vocabulary, encoder } = named(model.file, () => Tokenizer.fromGguf(header));
	const whole = model.boolean('ignore_merges', false);
	if (!(encoder instanceof ByteLevelBpe) || whole === preTokenizerOf(pre).wholePieces) return;
	const id = encoder.firstUnmerged();
	if (id === undefined) return;
	const text = shown(new TextDecoder().decode(vocabulary.tokenBytes(id)));
	throw new Error(
		`${model.file}: model.ignore_merges is ${whole}, but text split as "${pre}" goes with ${!whole}, and token ${text} tells the two apart`,
	);
}

/** Runs a check of tables that were made from `file`, and adds the file's name to its errors. */
function named<T>(file: string, check: () => T): T {
	try {
		return check();
	} catch (error) {
		throw new Error(`${file}: ${messageOf(error)}`);
	}
}

function readVocabulary(tokenizer: JsonObject, model: JsonObject, size: number): SourceVocabulary {
	const texts: (string | undefined)[] = new Array(size);
	const vocabulary = { ids: new Map<string, number>(), texts, types: new Int32Array(size).fill(TokenType.unused) };
	for (const [text, id] of Object.entries(model.object('vocab').values)) {
		enter(vocabulary, tokenizer.file, text, id, TokenType.normal);
	}
	return vocabulary;
}

/** @throws where the id is not one of the vocabulary, or the id or the text is already taken. */
function enter({ ids, texts, types }: SourceVocabulary, file: string, text: string, id: unknown, type: number): void {
	if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= texts.length) {
		throw new Error(
			`${file}: token ${shown(text)} has the id ${id}, which is not in the vocabulary of ${texts.length} that config.json gives`,
		);
	}
	const other = texts[id];
	if (other !== undefined && other !== text) {
		throw new Error(`${file}: the id ${id} is that of two tokens, ${shown(other)} and ${shown(text)}`);
	}
	if ((ids.get(text) ?? id) !== id)
		throw new Error(`${file}: token ${shown(text)} has two ids, ${ids.get(text)} and ${id}`);
	texts[id] = text;
	types[id] = type;
	ids.set(text, id);
}

/** Enters the added tokens. Text is cut at them before anything else. */
function addTokensOf(vocabulary: SourceVocabulary, entries: readonly JsonObject[]): void {
	for (const entry of entries) {
		const content = entry.string('content');
		if (content === '') throw new Error(`${entry.file}: an added token is empty`);
		// Hearth cannot do what these flags ask for: a token that takes in the white space beside it, or one that has to be
		// a whole word.
		for (const flag of ['lstrip', 'rstrip', 'single_word']) {
			if (entry.boolean(flag, false)) {
				throw new Error(`${entry.file}: the added token ${shown(content)} has ${flag}, which is not supported`);
			}
		}
		// Hearth looks for added tokens in text before it is normalised. It would never find a token that exists only in
		// normalised text.
		if (entry.boolean('normalized', false) && content.normalize('NFC') !== content) {
			throw new Error(`${entry.file}: the added token ${shown(content)} is no NFC text, but is looked for in it`);
		}
		const control = entry.boolean('special', false) || looksSpecial(content);
		enter(vocabulary, entry.file, content, entry.get('id'), control ? TokenType.control : TokenType.userDefined);
	}
}

/** The added tokens of tokenizer_config.json, where they are listed by id. transformers uses them, too. */
function decoderEntries(own: JsonObject): JsonObject[] {
	const decoder = own.object('added_tokens_decoder');
	return decoder.keys().map((key) => {
		const { file, values } = decoder.object(key);
		return new JsonObject(file, { ...values, id: Number(key) }, `added_tokens_decoder.${key}.`);
	});
}

/** Older folders list added tokens in added_tokens.json, too. @throws where that file contradicts tokenizer.json. */
function checkAddedTokens({ ids }: SourceVocabulary, added: JsonObject | undefined): void {
	for (const text of added?.keys() ?? []) {
		if (ids.get(text) === added!.get(text)) continue;
		const own = ids.has(text) ? `${ids.get(text)} in tokenizer.json` : 'not in tokenizer.json';
		throw new Error(`${added!.file}: the token ${shown(text)} is ${added!.get(text)} here, but ${own}`);
	}
}

/** Whether an added token is a control token whatever its entry says (llama.cpp's `does_token_look_special`). */
function looksSpecial(text: string): boolean {
	return /^(<\|.*\|>|<｜.*｜>|<pad>|<mask>|<unused\d+>)$/s.test(text);
}

function readMerges(model: JsonObject): StringTable {
	const merges = new StringTableBuilder();
	const seen = new Set<string>();
	// In the byte-level alphabet Ġ stands for the space.
	const part = (text: string) => text.replaceAll(' ', 'Ġ');
	for (const [line, merge] of model.array('merges').entries()) {
		const [left, right] = Array.isArray(merge) && merge.length === 2 ? (merge as unknown[]) : [];
		let text: string;
		if (typeof merge === 'string') text = merge;
		else if (typeof left === 'string' && typeof right === 'string') text = `${part(left)} ${part(right)}`;
		else throw new Error(`${model.file}: model.merges[${line}] is neither "left right" nor a pair`);
		// Readers differ in which of two equal merges counts.
		if (seen.has(text)) throw new Error(`${model.file}: model.merges[${line}], ${shown(text)}, is there twice`);
		seen.add(text);
		merges.add(text);
	}
	return merges.build();
}

/**
 * The token ids of a config's key: one, or where `several` may be given, a list. −1 stands for no token.
 * @throws for other values.
 */
function tokenIds(config: JsonObject | undefined, key: string, several: boolean): number[] {
	if (!config?.has(key)) return [];
	const value = config.get(key);
	const ids = Array.isArray(value) ? value : [value];
	if (!ids.every((id) => Number.isInteger(id)) || (ids.length > 1 && !several)) {
		throw config.fail(key, several ? 'a token id or a list of them' : 'one token id');
	}
	return (ids as number[]).filter((id) => id !== -1);
}

/**
 * Adds tokens that end a text beside the first such token. A GGUF has two more keys for such tokens. A token that is
 * recognised as an end by its name needs no key.
 * @throws where more than two tokens need one.
 */
function addOtherEnds(
	{ ids, texts, types }: SourceVocabulary,
	eos: number,
	listed: readonly number[],
	setId: (key: string, id: number) => void,
	folder: string,
): void {
	const others = [...new Set(listed)].filter((id) => id !== eos);
	const byName = new Set(
		END_NAMES.map((name) => ids.get(name)).filter((id) => id !== undefined && types[id] !== TokenType.normal),
	);
	const unnamed = others.filter((id) => !byName.has(id));
	if (unnamed.length > 2) {
		const shownIds = unnamed.map((id) => `${id} (${shown(texts[id] ?? '')})`).join(', ');
		throw new Error(`${folder}: eos_token_id has ${shownIds} beside ${eos}; a GGUF has room for two more`);
	}
	const [eot, eom] = [...unnamed, ...others.filter((id) => byName.has(id))];
	if (eot !== undefined) setId('eot', eot);
	if (eom !== undefined) setId('eom', eom);
}

/**
 * The tokens that the post-processor adds before and behind every text, as Llama 3's does.
 * @throws where the post-processor does anything else.
 */
function readTemplate(tokenizer: JsonObject, ids: ReadonlyMap<string, number>): { first?: number; last?: number } {
	const around: { first?: number; last?: number } = {};
	for (const step of steps(tokenizer.optionalObject('post_processor'), 'processors')) {
		const type = step.string('type');
		// This step changes only where tokens lie in the text.
		if (type === 'ByteLevel') continue;
		if (type !== 'TemplateProcessing')
			throw new Error(`${step.file}: the post-processor ${shown(type)} is not supported`);
		const pieces = step.objects('single');
		const text = pieces.findIndex((piece) => piece.has('Sequence'));
		const special = (piece: JsonObject | undefined) => {
			if (!piece) return undefined;
			const name = piece.object('SpecialToken').string('id');
			const id = ids.get(name);
			if (id === undefined) throw new Error(`${step.file}: the post-processor adds ${shown(name)}, which is no token`);
			const given = step.optionalObject('special_tokens')?.optionalObject(name)?.array('ids') ?? [id];
			if (given.length === 1 && given[0] === id) return id;
			throw new Error(`${step.file}: the post-processor has other ids for ${shown(name)} than the vocabulary`);
		};
		if (text < 0 || text > 1 || pieces.length > text + 2 || around.first !== undefined || around.last !== undefined) {
			throw new Error(
				`${step.file}: a post-processor that adds more than one token before and one behind is not supported`,
			);
		}
		const first = special(pieces[text - 1]);
		const last = special(pieces[text + 1]);
		if (first !== undefined) around.first = first;
		if (last !== undefined) around.last = last;
	}
	return around;
}

/**
 * Whether the tokenizer's class adds a token at the beginning. transformers' class for Llama 2 does so by default, and
 * some byte-level tokenizers name that class.
 */
function addsBosByClass(own: JsonObject | undefined): boolean {
	return (
		/^LlamaTokenizer(Fast)?$/.test(String(own?.get('tokenizer_class'))) &&
		tokenText(own?.get('bos_token')) !== undefined
	);
}

function tokenText(value: unknown): string | undefined {
	const text = typeof value === 'string' ? value : (value as { content?: unknown } | undefined)?.content;
	return typeof text === 'string' && text !== '' ? text : undefined;
}

function chatTemplate(own: JsonObject | undefined): string | undefined {
	const value = own?.get('chat_template');
	if (typeof value === 'string') return value;
	if (!Array.isArray(value)) return undefined;
	const named = value.find((entry) => (entry as { name?: unknown } | null)?.name === 'default');
	const template = (named as { template?: unknown } | undefined)?.template;
	return typeof template === 'string' ? template : undefined;
}
