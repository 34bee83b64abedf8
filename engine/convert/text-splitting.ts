// How tokenizer.json prepares text for merging, as the name that llama.cpp has for it. A tokenizer is a chain of steps with options;
// the chains known here are those that cut text exactly as a pre-tokenizer of Hearth does (compared with Hugging Face's tokenizers
// 0.23). Any other step or option is an error that names it: it would give other tokens without a word.
import type { JsonObject } from './json';
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

/** Chains of steps that this can be, by what each step was understood as. */
const CHAINS: Record<string, string> = { 'bytes and words': 'gpt-2', 'digits, bytes and words': 'smollm' };

/**
 * llama.cpp's name for how text is cut before merging.
 * @throws naming the step or option that no such name stands for.
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

/** What each kind of step does: a split by a pattern is that pattern. */
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
		// The known patterns match all text, so dropping what lies between their matches drops nothing.
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
		// trim_offsets is about where tokens lie in the text, not which they are.
		onlyKeys(step, 'add_prefix_space', 'trim_offsets', 'use_regex');
		step.boolean('trim_offsets', true);
		if (step.boolean('add_prefix_space', false)) {
			throw new Error(`${step.file}: a space before all text (add_prefix_space) is not supported`);
		}
		return usesRegex(step) ? 'bytes and words' : 'bytes';
	},
};

/** Whether it splits, too, by GPT-2's pattern. Files from before there was a choice do. */
const usesRegex = (step: JsonObject) => step.boolean('use_regex', true);

/** Whether text is brought into the form NFC first. @throws naming a normalizer that does anything else. */
export function normalizesToNfc(tokenizer: JsonObject): boolean {
	const normalizers = steps(tokenizer.optionalObject('normalizer'), 'normalizers');
	for (const step of normalizers) {
		const type = step.string('type');
		if (type !== 'NFC') throw new Error(`${tokenizer.file}: the normalizer ${shown(type)} is not supported`);
		onlyKeys(step);
	}
	return normalizers.length > 0;
}

/** Tokens are bytes in their alphabet, and nothing else happens on the way back to text. */
function checkDecoder(tokenizer: JsonObject): void {
	for (const step of steps(tokenizer.optionalObject('decoder'), 'decoders')) {
		const type = step.string('type');
		if (type === 'ByteLevel') onlyKeys(step, 'add_prefix_space', 'trim_offsets', 'use_regex');
		else if (type !== 'Fuse') throw new Error(`${tokenizer.file}: the decoder ${shown(type)} is not supported`);
	}
}

/** Throws naming an option of a step that is not known, and asks for something. */
export function onlyKeys(step: JsonObject, ...known: string[]): void {
	const other = step.keys().find((key) => key !== 'type' && !known.includes(key) && !step.isNeutral(key));
	if (other !== undefined) throw step.unsupported(other);
}

/** The steps of a part of tokenizer.json, alone or in sequences, those within sequences included. */
export function steps(outer: JsonObject | undefined, key: string): JsonObject[] {
	if (!outer) return [];
	if (outer.get('type') !== 'Sequence') return [outer];
	onlyKeys(outer, key);
	return outer.objects(key).flatMap((step) => steps(step, key));
}
