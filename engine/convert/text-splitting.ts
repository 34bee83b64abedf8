// The pre-tokenizer's name in llama.cpp for what tokenizer.json does with text before merging. A tokenizer is a chain
// of steps with options. The chains known here cut text exactly as one of Hearth's pre-tokenizers does, which was
// compared with version 0.23 of Hugging Face's tokenizers. Any other step or option is an error that names it, since it
// would silently give other tokens.
import type { JsonObject } from './json';
import { shown } from './safetensors';

/**
 * llama.cpp's name of the pre-tokenizer for each pattern that tokenizer.json may split by. The patterns must match to
 * the character.
 */
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
	[String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`]: 'gpt-2',
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

/** llama.cpp's name of the pre-tokenizer for each known chain of steps without a pattern. */
const CHAINS: Record<string, string> = { 'bytes and words': 'gpt-2', 'digits, bytes and words': 'smollm' };

/**
 * llama.cpp's name of the pre-tokenizer that cuts text as this tokenizer does.
 * @throws naming the step or option for which there is none.
 */
export function preTokenizerName(tokenizer: JsonObject): string {
	checkDecoder(tokenizer);
	const chain = steps(tokenizer.optionalObject('pre_tokenizer'), 'pretokenizers');
	const understood = chain.map((step) => {
		const type = step.string('type');
		if (Object.hasOwn(STEPS, type)) return STEPS[type]!(step);
		throw new Error(`${step.file}: the pre-tokenizer ${shown(type)} is not supported`);
	});
	const [first, second] = understood;
	if (second === 'bytes' && understood.length === 2 && first !== undefined && Object.hasOwn(PATTERNS, first)) {
		return PATTERNS[first]!;
	}
	const name = understood.join(', ');
	if (Object.hasOwn(CHAINS, name)) return CHAINS[name]!;
	if (!understood.some((step) => step.startsWith('bytes'))) {
		throw new Error(`${tokenizer.file} has no ByteLevel pre-tokenizer; it is no byte-level BPE`);
	}
	const types = chain.map((step) => {
		const type = step.string('type');
		return type === 'ByteLevel' ? `ByteLevel with use_regex ${usesRegex(step)}` : type;
	});
	throw new Error(`${tokenizer.file}: pre-tokenizers in this order are not supported: ${types.join(', ')}`);
}

/** Describes each type of step in words of `CHAINS`. A split is described by its pattern. */
const STEPS: Record<string, (step: JsonObject) => string> = {
	Split(step) {
		onlyKeys(step, 'pattern', 'behavior', 'invert');
		const { pattern, file } = { pattern: step.object('pattern'), file: step.file };
		onlyKeys(pattern, 'Regex', 'String');
		if (!pattern.has('Regex'))
			throw new Error(`${file}: text is split at a string, not at a pattern, which is not supported`);
		const regex = pattern.string('Regex');
		if (!Object.hasOwn(PATTERNS, regex))
			throw new Error(`${file}: text is split by an unknown pattern, ${shown(regex)}`);
		const behavior = step.string('behavior', 'Isolated');
		const invert = step.boolean('invert', false);
		// The known patterns match all of a text. So removing what lies between the matches removes nothing.
		const same = behavior === 'Isolated' ? !invert : behavior === 'Removed' && invert;
		if (same) return regex;
		throw new Error(
			`${file}: a Split with the behavior ${shown(behavior)} and invert ${invert} is not supported; Isolated and false are, Removed and true`,
		);
	},
	Digits(step) {
		onlyKeys(step, 'individual_digits');
		if (step.boolean('individual_digits', false)) return 'digits';
		throw new Error(`${step.file}: Digits without individual_digits is not supported`);
	},
	ByteLevel(step) {
		// The option trim_offsets changes where tokens lie in the text, and not which tokens there are.
		onlyKeys(step, 'add_prefix_space', 'trim_offsets', 'use_regex');
		step.boolean('trim_offsets', true);
		if (step.boolean('add_prefix_space', false)) {
			throw new Error(`${step.file}: a space before all text (add_prefix_space) is not supported`);
		}
		return usesRegex(step) ? 'bytes and words' : 'bytes';
	},
};

/** Whether a ByteLevel step also splits by GPT-2's pattern. Older files lack the option, and their step does. */
const usesRegex = (step: JsonObject) => step.boolean('use_regex', true);

/** Whether text is first normalised to NFC. @throws naming a normalizer that does anything else. */
export function normalizesToNfc(tokenizer: JsonObject): boolean {
	const normalizers = steps(tokenizer.optionalObject('normalizer'), 'normalizers');
	for (const step of normalizers) {
		const type = step.string('type');
		if (type !== 'NFC') throw new Error(`${tokenizer.file}: the normalizer ${shown(type)} is not supported`);
		onlyKeys(step);
	}
	return normalizers.length > 0;
}

/** @throws where decoding does more than to turn tokens' characters back into bytes. */
function checkDecoder(tokenizer: JsonObject): void {
	for (const step of steps(tokenizer.optionalObject('decoder'), 'decoders')) {
		const type = step.string('type');
		if (type === 'ByteLevel') onlyKeys(step, 'add_prefix_space', 'trim_offsets', 'use_regex');
		else if (type !== 'Fuse') throw new Error(`${tokenizer.file}: the decoder ${shown(type)} is not supported`);
	}
}

/** @throws naming an option of the step that is not among `known` and asks for something. */
export function onlyKeys(step: JsonObject, ...known: string[]): void {
	const other = step.keys().find((key) => key !== 'type' && !known.includes(key) && !step.isNeutral(key));
	if (other !== undefined) throw step.unsupported(other);
}

/** The steps of a part of tokenizer.json, with the steps of its sequences in their order. */
export function steps(outer: JsonObject | undefined, key: string): JsonObject[] {
	if (!outer) return [];
	if (outer.get('type') !== 'Sequence') return [outer];
	onlyKeys(outer, key);
	return outer.objects(key).flatMap((step) => steps(step, key));
}
