// The prompt of a completion. Each part of it is within its budget, and the whole is within the model's context. An
// estimate from characters cuts the text first. It can be wrong by a factor of ten for binary data, so tokens are
// counted afterwards.
import type { CompletionFile, CompletionPrompt, RelatedFile, Window } from '../families/family';
import type { OpenedModel } from '../loading/open-model';
import type { EngineSettings } from '../settings';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { characterAt, splitsCharacter } from './lines';
import { type CursorContext, cutWindow, type WindowLimits } from './window';

export interface FittedPrompt extends CompletionPrompt {
	/** How many tokens may be generated, those of `healed` included. */
	maxTokens: number;
}

type Limits = Pick<EngineSettings['completion'], 'maxTokens' | 'prefixTokens' | 'suffixTokens' | 'relatedTokens'>;

/**
 * Longest name of a file or language in a prompt, in characters. Only the end of a longer one is kept, as the end of a
 * path says most.
 */
const MAX_NAME = 160;
/** If a window has too many tokens, the next try has this fraction of its budget. */
const NARROWER = 0.7;
/** A prompt may have so many tokens more than its parts: tokens at the joints, and the names and marks of the parts. */
const JOINTS = 16;

/**
 * Builds the prompt for a cursor.
 * @throws an error that says what to do if the context is too small even for a prompt without any text and for a short
 * answer.
 */
export function fitPrompt(
	{
		engine,
		family,
		tokenizer,
	}: Pick<OpenedModel, 'family' | 'tokenizer'> & {
		engine: Pick<OpenedModel['engine'], 'contextTokens'>;
	},
	given: CompletionFile,
	cursor: CursorContext,
	settings: Limits,
): FittedPrompt {
	const context = engine.contextTokens;
	const file = { label: shortName(given.label), languageId: shortName(given.languageId), related: [] };
	const related = fitRelated(given.related, Math.min(settings.relatedTokens, context), tokenizer);
	const wanted = {
		prefixTokens: Math.min(settings.prefixTokens, context),
		suffixTokens: Math.min(settings.suffixTokens, context),
	};
	const build = (limits: WindowLimits, more: readonly RelatedFile[], maxTokens: number): FittedPrompt => {
		const window = fitWindow(cursor, limits, tokenizer);
		const prompt = family.completion.build({ ...file, related: more }, window);
		return { ...prompt, maxTokens: maxTokens + tokenizer.count(prompt.healed) };
	};
	const fits = ({ tokens, maxTokens }: FittedPrompt) => tokens.length + maxTokens <= context;

	const whole = build(wanted, related, settings.maxTokens);
	if (fits(whole)) return whole;
	// The text around the cursor counts most. The related files are left out, and prefix and suffix share the room.
	const fixed = family.completion.build(file, NOTHING).tokens.length;
	const room = context - fixed;
	const maxTokens = Math.max(1, Math.min(settings.maxTokens, Math.floor(room / 2)));
	for (let left = room - maxTokens - Math.min(JOINTS, room >> 3); left >= 0; left = Math.floor(left / 2)) {
		const suffixTokens = Math.min(wanted.suffixTokens, left >> 2);
		const fitted = build(
			{ suffixTokens, prefixTokens: Math.min(wanted.prefixTokens, left - suffixTokens) },
			[],
			maxTokens,
		);
		if (fits(fitted)) return fitted;
		if (left === 0) break;
	}
	throw new Error(
		`a context of ${context} tokens is too small for completions with this model; raise hearth.contextTokens above ${fixed + 64}`,
	);
}

/** Tries windows, each narrower than the last, and returns the first one whose parts are within the limits. */
function fitWindow(cursor: CursorContext, limits: WindowLimits, tokenizer: Tokenizer): Window {
	const estimated = { ...limits };
	for (;;) {
		const window = cutWindow(cursor, estimated);
		const prefixFits = tokenizer.count(window.prefix) <= limits.prefixTokens;
		const suffixFits = tokenizer.count(textAfter(window)) <= limits.suffixTokens;
		if (prefixFits && suffixFits) return window;
		if (!prefixFits) estimated.prefixTokens = narrower(estimated.prefixTokens);
		if (!suffixFits) estimated.suffixTokens = narrower(estimated.suffixTokens);
	}
}

function narrower(tokens: number): number {
	return Math.floor(tokens * NARROWER);
}

/** The part of a prompt that is the text after the cursor. */
export function textAfter({ lineSuffix, suffix }: Window): string {
	return suffix === '' ? lineSuffix : `${lineSuffix}\n${suffix}`;
}

/** The last files that fit into so many tokens, names included. The first of the kept files may be cut. */
function fitRelated(files: readonly RelatedFile[], tokens: number, tokenizer: Tokenizer): RelatedFile[] {
	const kept: RelatedFile[] = [];
	let left = tokens;
	for (const { label, text } of [...files].reverse()) {
		const name = shortName(label);
		// Two line ends, and the tokens that mark the beginning of a file.
		left -= tokenizer.count(name) + 4;
		const cut = beginning(text, left, tokenizer);
		if (cut === '') break;
		left -= tokenizer.count(cut);
		kept.unshift({ label: name, text: cut });
	}
	return kept;
}

/** The beginning of a text that has at most so many tokens. It ends with a whole line if it has one. */
function beginning(text: string, tokens: number, tokenizer: Tokenizer): string {
	if (tokens <= 0) return '';
	let characters = Math.min(text.length, 8 * tokens);
	for (;;) {
		let cut = text.slice(0, characterAt(text, characters));
		if (cut.length < text.length && cut.includes('\n')) cut = cut.slice(0, cut.lastIndexOf('\n'));
		if (tokenizer.count(cut) <= tokens) return cut;
		characters = narrower(cut.length);
	}
}

function shortName(name: string): string {
	if (name.length <= MAX_NAME) return name;
	const start = name.length - MAX_NAME;
	return `…${name.slice(splitsCharacter(name, start) ? start + 1 : start)}`;
}

const NOTHING: Window = { prefix: '', prefixIsWhole: false, linePrefix: '', lineSuffix: '', suffix: '' };
