// A suggestion while the model is writing it, and the requests that wait for it (its followers).
//
// Three things can happen to a run:
// - The text is finished. All followers get it.
// - The user typed on. As long as the typed text agrees with the written text, the same run serves the new request.
// - Nobody waits any more. The run is cancelled after a short grace, in which the next keystroke's request may come.
import { type Suggestion, type SuggestionKey, typedSince } from './suggestion-cache';

/** The result of a finished run. Its counts are tokens. */
export interface Outcome {
	suggestion: Suggestion;
	promptTokens: number;
	cachedTokens: number;
	generatedTokens: number;
}

/**
 * `canceled`: the run was cancelled, or the follower gave up. `diverged`: the user typed something else than the model
 * writes.
 */
export type Followed = Outcome | 'canceled' | 'diverged';

/**
 * How long a run may go on while nobody waits for it, in milliseconds. A keystroke cancels the editor's request. The
 * next request comes after VS Code's debounce of 50 ms and the extension's own delay, if the user has set one.
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

	/** @param run writes the suggestion and calls `onText` with all of its text so far. */
	constructor(
		key: SuggestionKey,
		run: (signal: AbortSignal, onText: (text: string) => void) => Promise<Outcome | 'canceled'>,
	) {
		this.#key = key;
		this.#run = run(this.#controller.signal, (text) => this.#onText(text));
		this.#run.catch(() => {
			this.#failed = true; // present followers get the rejection, and no new request follows this run
		});
	}

	/** Whether this run can serve a request for `key`, as far as the text written so far tells. */
	serves(key: SuggestionKey): boolean {
		const typed = typedSince(this.#key, key);
		if (typed === undefined || this.#failed || this.#controller.signal.aborted) return false;
		return agree(typed, this.#written);
	}

	/**
	 * Waits for the suggestion as seen from `key`: without the text that was typed since the run began. Rejects if the run
	 * does.
	 * @param signal ends the waiting with 'canceled'. The run itself goes on.
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
