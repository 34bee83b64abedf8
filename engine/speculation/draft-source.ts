// What proposes tokens to verify. Speculation is lossless whatever a source proposes: a draft is kept only where it equals
// the token the model itself then chooses, so a bad source costs time and never a token.

/** Follows one sequence and guesses how it goes on. */
export interface DraftSource {
	/** Tells the source what the sequence has become; `tokens` only ever grows between calls, except by replacing nothing. */
	update(tokens: readonly number[]): void;
	/** At most `limit` tokens that may come next, the likeliest continuation first; none where it has no idea. */
	propose(limit: number): number[];
}
