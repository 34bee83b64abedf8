// Refusals of the engine that callers tell apart. Each message is one line that says what to do.

/** The prompt does not fit into the context. */
export class ContextOverflowError extends Error {
	override name = 'ContextOverflowError';
	readonly promptTokens: number;
	readonly contextTokens: number;

	/** @param atLeast whether the prompt was refused before all of its tokens were counted. */
	constructor(promptTokens: number, contextTokens: number, atLeast = false) {
		super(
			`the prompt has ${promptTokens} tokens, more than fit into the context of ${contextTokens}; ` +
				`shorten it or raise the context size${atLeast ? ' (the number is the least that its length allows)' : ''}`,
		);
		this.promptTokens = promptTokens;
		this.contextTokens = contextTokens;
	}
}

/** Too many requests wait already. */
export class OverloadedError extends Error {
	override name = 'OverloadedError';
	readonly waiting: number;

	constructor(waiting: number) {
		super(`the engine is overloaded: ${waiting} requests are waiting already; try again later`);
		this.waiting = waiting;
	}
}

/** The engine was closed, or another model was loaded, while the request ran. */
export class EngineClosedError extends Error {
	override name = 'EngineClosedError';

	constructor() {
		super('the model was unloaded while the request was running');
	}
}
