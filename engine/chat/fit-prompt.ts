// Decides which turns of a conversation a prompt has room for. A conversation that is too long is neither rendered nor
// encoded as a whole. The token counts of its texts tell nearly where to cut. Then the prompts for a few cuts around
// that place are built, and their lengths decide.
import { joinTokens, type PromptPart, tokenCount } from '../families/prompt-builder';
import { ContextOverflowError } from '../runtime/errors';
import type { Pace } from './pace';
import type { TextTokens } from './text-tokens';

/**
 * A token has at most so many characters in nearly any text. A conversation with fewer characters is built to see
 * whether it fits.
 */
const CHARACTERS_PER_TOKEN = 4;
/**
 * Tokens that a format writes beside a turn's text. It is assumed until the first prompt has shown how many there are.
 */
const USUAL_OVERHEAD = 5;
/** So many cuts are guessed from the counts before the search continues by halving. */
const MOST_GUESSES = 6;

export interface Conversation {
	readonly turns: readonly { readonly role: string }[];
	/** Characters of a turn's text. */
	length(turn: number): number;
	text(turn: number): string;
	/** The prompt without the first so many turns. */
	parts(dropped: number): readonly PromptPart[] | Promise<readonly PromptPart[]>;
}

interface Room {
	/** How many turns are left out already. */
	dropped: number;
	/** The most tokens that a prompt may have. */
	limit: number;
	/** A prompt above the limit is cut down to so many tokens, so that the next turns extend it without another cut. */
	refill: number;
	/** Tokens of the context. */
	context: number;
}

export interface FittedPrompt {
	prompt: Int32Array;
	/** How many leading turns the prompt leaves out. */
	dropped: number;
}

/**
 * Builds a conversation's prompt. If the prompt without the first `room.dropped` turns is within the limit, it leaves
 * out no more. Else it leaves out as many turns as it takes until the rest begins with a user's turn and is within the
 * refill. The user's last turn always stays.
 * @throws ContextOverflowError if the user's last turn alone is too long.
 */
export async function fitPrompt(
	conversation: Conversation,
	room: Room,
	tokens: TextTokens,
	pace: Pace,
): Promise<FittedPrompt> {
	const { turns } = conversation;
	// The user's last turn stays, and formats write all of it. If it cannot fit, this is known before any text is rendered
	// or encoded.
	const last = tokens.atLeast(conversation.length(turns.length - 1));
	if (last > room.context) throw new ContextOverflowError(last, room.context, true);
	const counts = new TextCounts(conversation, tokens, pace);
	const build = async (dropped: number) => {
		const pieces = await tokens.ofParts(await conversation.parts(dropped), pace);
		return { pieces, length: tokenCount(pieces), dropped };
	};
	let { dropped } = room;
	const cuts = turns.flatMap(({ role }, index) => (index > dropped && role === 'user' ? [index] : []));
	let best: Awaited<ReturnType<typeof build>> | undefined;
	// If no turn can be left out, the counts cannot help, and the prompt is built at once.
	if (cuts.length === 0 || !(await counts.exceeds(dropped, room.limit))) {
		best = await build(dropped);
		if (best.length <= room.limit) return { prompt: joinTokens(best.pieces), dropped };
	}
	// The first cut whose prompt is within the refill has an index above `low` and at most `high`.
	let low = -1;
	let high = cuts.length - 1;
	let overhead = USUAL_OVERHEAD;
	for (let guesses = 0; high - low > 1; guesses++) {
		const middle = guesses < MOST_GUESSES ? await counts.firstWithin(cuts, room.refill, overhead) : (low + high) >> 1;
		const at = Math.min(Math.max(middle, low + 1), high - 1);
		if (await counts.exceeds(cuts[at]!, room.refill)) {
			low = at;
			continue;
		}
		const built = await build(cuts[at]!);
		if (built.length <= room.refill) {
			high = at;
			best = built;
		} else {
			low = at;
		}
		overhead = (built.length - (await counts.from(cuts[at]!))) / (turns.length - cuts[at]!);
	}
	if (high >= 0) dropped = cuts[high]!;
	if (best?.dropped !== dropped) best = await build(dropped);
	if (best.length >= room.context) throw new ContextOverflowError(best.length, room.context);
	return { prompt: joinTokens(best.pieces), dropped };
}

/**
 * Counts the tokens of a conversation's texts, each text by itself. It counts from the last turn backwards, as far as
 * needed.
 */
class TextCounts {
	readonly #conversation: Conversation;
	readonly #tokens: TextTokens;
	readonly #pace: Pace;
	/** `#sums[i]` is the number of tokens of the last i + 1 turns. */
	readonly #sums: number[] = [];

	constructor(conversation: Conversation, tokens: TextTokens, pace: Pace) {
		this.#conversation = conversation;
		this.#tokens = tokens;
		this.#pace = pace;
	}

	/** The number of tokens of all turns from `turn` on. */
	async from(turn: number): Promise<number> {
		await this.#countUntil(turn, Number.POSITIVE_INFINITY);
		return this.#sums[this.#count - 1 - turn] ?? 0;
	}

	/**
	 * Whether the texts from a turn on exceed the limit by themselves. Each turn takes a token at least, even without
	 * text.
	 */
	async exceeds(turn: number, limit: number): Promise<boolean> {
		const count = this.#count - turn;
		if (count > limit) return true;
		let characters = 0;
		for (let i = turn; i < this.#count && characters <= limit * CHARACTERS_PER_TOKEN; i++) {
			characters += this.#conversation.length(i);
		}
		if (characters <= limit * CHARACTERS_PER_TOKEN) return false;
		await this.#countUntil(turn, limit);
		return (this.#sums[count - 1] ?? Number.POSITIVE_INFINITY) > limit;
	}

	/** The index of the first cut from which on texts and overhead are within the limit, or of the last cut if none is. */
	async firstWithin(cuts: readonly number[], limit: number, overhead: number): Promise<number> {
		await this.#countUntil(0, limit);
		let at = cuts.length - 1;
		while (at > 0) {
			const turns = this.#count - cuts[at - 1]!;
			const sum = this.#sums[turns - 1];
			if (sum === undefined || sum + overhead * turns > limit) break;
			at--;
		}
		return at;
	}

	get #count(): number {
		return this.#conversation.turns.length;
	}

	/** Counts from the last turn back to `turn`, or until the sum exceeds the limit. */
	async #countUntil(turn: number, limit: number): Promise<void> {
		while (this.#sums.length < this.#count - turn && (this.#sums.at(-1) ?? 0) <= limit) {
			// Formats trim white space at both ends.
			const text = this.#conversation.text(this.#count - 1 - this.#sums.length).trim();
			const atLeast = this.#tokens.atLeast(text.length);
			const length = atLeast > limit ? atLeast : (await this.#tokens.of(text, this.#pace)).length;
			this.#sums.push((this.#sums.at(-1) ?? 0) + length);
			if (this.#pace.due) await this.#pace.rest();
		}
	}
}
