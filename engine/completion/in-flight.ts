// A suggestion while the model is writing it, and those who wait for it.
//
// Three things can happen to one: its text is finished and everyone who waits gets it; somebody typed on, and as long as
// what was typed agrees with what is being written the same run serves the new request; or nobody waits any more, and
// after a short grace, in which the next keystroke's request may come, it is cancelled.
import { type Suggestion, type SuggestionKey, typedSince } from './suggestion-cache';

/** What a run ended with. */
export interface Outcome {
	suggestion: Suggestion;
	promptTokens: number;
	cachedTokens: number;
	generatedTokens: number;
}

/** `canceled`: the run was; `diverged`: what was typed is not what the model writes. */
export type Followed = Outcome | 'canceled' | 'diverged';

/**
 * How long a run nobody waits for may go on, in milliseconds. A keystroke cancels the editor's request, and the next one
 * comes after VS Code's debounce of 50 ms and the extension's own delay, if the user has set one.
 */
const GRACE = 300;

interface Follower {
	typed: string;
	resolve(followed: Followed): void;
}

export class InFlight {
	readonly #key: SuggestionKey;
	readonly #controller = new AbortController();
	readonly #followers = new Set<Follower>();
	readonly #run: Promise<Outcome | 'canceled'>;
	#written = '';
	#failed = false;
	#grace: NodeJS.Timeout | undefined;

	/** @param run writes the suggestion, calling `onText` with all of its text so far. */
	constructor(
		key: SuggestionKey,
		run: (signal: AbortSignal, onText: (text: string) => void) => Promise<Outcome | 'canceled'>,
	) {
		this.#key = key;
		this.#run = run(this.#controller.signal, (text) => this.#onText(text));
		this.#run.catch(() => {
			this.#failed = true; // each follower gets the rejection, and nobody new
		});
	}

	/** Whether a request made for `key` can be served by this run, as far as is known now. */
	serves(key: SuggestionKey): boolean {
		const typed = typedSince(this.#key, key);
		if (typed === undefined || this.#failed || this.#controller.signal.aborted) return false;
		return agree(typed, this.#written);
	}

	/**
	 * Waits for the suggestion as seen from `key`. Rejects as the run does.
	 * @param signal gives up waiting, not the run, with 'canceled'.
	 */
	follow(key: SuggestionKey, signal: AbortSignal): Promise<Followed> {
		const typed = typedSince(this.#key, key);
		if (typed === undefined || !this.serves(key)) return Promise.resolve('diverged');
		clearTimeout(this.#grace);
		return new Promise<Followed>((resolve, reject) => {
			const follower: Follower = { typed, resolve };
			const leave = () => {
				this.#followers.delete(follower);
				signal.removeEventListener('abort', giveUp);
				if (this.#followers.size === 0) this.#startGrace();
			};
			const giveUp = () => {
				leave();
				resolve('canceled');
			};
			this.#followers.add(follower);
			if (signal.aborted) {
				giveUp();
				return;
			}
			signal.addEventListener('abort', giveUp);
			this.#run.then(
				(outcome) => resolve(outcome === 'canceled' ? outcome : seenFrom(outcome, typed)),
				(error) => reject(error),
			);
			this.#run.then(leave, leave);
		});
	}

	cancel(): void {
		clearTimeout(this.#grace);
		this.#controller.abort();
	}

	#onText(text: string): void {
		this.#written = text;
		for (const follower of this.#followers) {
			if (!agree(follower.typed, text)) follower.resolve('diverged');
		}
	}

	#startGrace(): void {
		clearTimeout(this.#grace);
		this.#grace = setTimeout(() => this.#controller.abort(), GRACE);
		this.#grace.unref();
	}
}

/** Whether one text is the other's beginning. */
function agree(a: string, b: string): boolean {
	return a.startsWith(b) || b.startsWith(a);
}

function seenFrom(outcome: Outcome, typed: string): Followed {
	const { text } = outcome.suggestion;
	if (typed === '') return outcome;
	if (!text.startsWith(typed) || text.length === typed.length) return 'diverged';
	return { ...outcome, suggestion: { text: text.slice(typed.length) } };
}
