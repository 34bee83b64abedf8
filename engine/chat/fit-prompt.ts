// Which turns of a conversation a prompt has room for. A conversation that is too long is neither rendered nor encoded as a whole:
// what its texts count tells nearly where to cut, and the prompts of the few places around decide.
import { joinTokens, type PromptPart, tokenCount } from '../families/prompt-builder';
import { ContextOverflowError } from '../runtime/errors';
import type { Pace } from './pace';
import type { TextTokens } from './text-tokens';

/** Characters a token has at most in nearly any text; up to there a conversation is built to see whether it fits. */
const CHARACTERS_PER_TOKEN = 4;
/** What a format writes beside a turn's text, before any prompt has told. */
const USUAL_OVERHEAD = 5;
/** Places that are guessed from the counts before halving takes over. */
const MOST_GUESSES = 6;

export interface Conversation {
	readonly turns: readonly { readonly role: string }[];
	/** Characters of a turn, and its text. */
	length(turn: number): number;
	text(turn: number): string;
	/** The prompt without the first so many turns. */
	parts(dropped: number): readonly PromptPart[] | Promise<readonly PromptPart[]>;
}

interface Room {
	/** Turns that are left out already. */
	dropped: number;
	/** Tokens a prompt may have. */
	limit: number;
	/** Tokens it is cut down to once it has more, so that the next turns extend it without another cut. */
	refill: number;
	/** Tokens of the context. */
	context: number;
}

export interface FittedPrompt {
	prompt: Int32Array;
	/** Leading turns it leaves out. */
	dropped: number;
}

/**
 * The prompt and how many turns it leaves out: none beyond `room.dropped` where it is within the limit; else as many as it takes
 * for the rest to begin with the user's turn and to be within the refill, or all but the user's last turn.
 * @throws ContextOverflowError where that alone is too long.
 */
export async function fitPrompt(
	conversation: Conversation,
	room: Room,
	tokens: TextTokens,
	pace: Pace,
): Promise<FittedPrompt> {
	const { turns } = conversation;
	// Before anything is put together, rendered or encoded: the user's last turn stays, and formats write all of it.
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
	// Where nothing can be left out there is nothing to find out either.
	if (cuts.length === 0 || !(await counts.exceeds(dropped, room.limit))) {
		best = await build(dropped);
		if (best.length <= room.limit) return { prompt: joinTokens(best.pieces), dropped };
	}
	// The first cut within the refill is beyond `low` and at most `high`.
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

/** How many tokens the texts of a conversation's last turns have, each text by itself; counted from the end as far as needed. */
class TextCounts {
	readonly #conversation: Conversation;
	readonly #tokens: TextTokens;
	readonly #pace: Pace;
	/** `sums[i]`: of the last i + 1 turns. */
	readonly #sums: number[] = [];

	constructor(conversation: Conversation, tokens: TextTokens, pace: Pace) {
		this.#conversation = conversation;
		this.#tokens = tokens;
		this.#pace = pace;
	}

	/** Of all turns from one on. */
	async from(turn: number): Promise<number> {
		await this.#countUntil(turn, Number.POSITIVE_INFINITY);
		return this.#sums[this.#count - 1 - turn] ?? 0;
	}

	/** Whether the texts from a turn on are too many by themselves. A turn without text is a token, too. */
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

	/** The first of the turns `cuts` from which on texts and overhead are within a limit; the last one if none is. */
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

	/** Counts from the end to a turn, or until the sum is beyond a limit. */
	async #countUntil(turn: number, limit: number): Promise<void> {
		while (this.#sums.length < this.#count - turn && (this.#sums.at(-1) ?? 0) <= limit) {
			// White space at the ends is what formats trim.
			const text = this.#conversation.text(this.#count - 1 - this.#sums.length).trim();
			const atLeast = this.#tokens.atLeast(text.length);
			const length = atLeast > limit ? atLeast : (await this.#tokens.of(text, this.#pace)).length;
			this.#sums.push((this.#sums.at(-1) ?? 0) + length);
			if (this.#pace.due) await this.#pace.rest();
		}
	}
}
