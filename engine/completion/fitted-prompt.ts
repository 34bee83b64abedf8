// The prompt of a completion, every part of it within its budget and the whole within the model's context. Budgets are kept by
// counting tokens: an estimate from characters, which cuts the text first, can be wrong by a factor of ten for binary data.
import type { CompletionFile, CompletionPrompt, RelatedFile, Window } from '../families/family';
import type { OpenedModel } from '../loading/open-model';
import type { EngineSettings } from '../settings';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { characterAt, splitsCharacter } from './lines';
import { type CursorContext, cutWindow, type WindowLimits } from './window';

export interface FittedPrompt extends CompletionPrompt {
	/** Tokens that may be generated, those of `healed` included. */
	maxTokens: number;
}

type Limits = Pick<EngineSettings['completion'], 'maxTokens' | 'prefixTokens' | 'suffixTokens' | 'relatedTokens'>;

/** Names of files and languages, in characters: the end of a path says most. */
const MAX_NAME = 160;
/** Each try at a window that has too many tokens is this part of the one before. */
const NARROWER = 0.7;
/** Tokens that a prompt may have beyond the sum of its parts: where they meet, and what is said about them. */
const JOINTS = 16;

/**
 * @throws an error that says what to do where the context has no room for what all of the model's prompts say, let alone for an
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
	// The place itself counts most: without other files, and with windows that share what is left.
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

/** The largest of a few windows, each narrower than the last, whose parts have no more tokens than the limits allow. */
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

/** What a prompt says of the text after the cursor. */
export function textAfter({ lineSuffix, suffix }: Window): string {
	return suffix === '' ? lineSuffix : `${lineSuffix}\n${suffix}`;
}

/** As many of the files, the last ones first, as have no more tokens than allowed, names included. */
function fitRelated(files: readonly RelatedFile[], tokens: number, tokenizer: Tokenizer): RelatedFile[] {
	const kept: RelatedFile[] = [];
	let left = tokens;
	for (const { label, text } of [...files].reverse()) {
		const name = shortName(label);
		// Two line ends and the tokens that say where a file begins.
		left -= tokenizer.count(name) + 4;
		const cut = beginning(text, left, tokenizer);
		if (cut === '') break;
		left -= tokenizer.count(cut);
		kept.unshift({ label: name, text: cut });
	}
	return kept;
}

/** As much of a text as has no more tokens than allowed, in whole lines where there is one. */
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
