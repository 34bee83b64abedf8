// Orders the steps of several models, so that they do not compete for the cores: one step runs at a time, the most
// urgent first. While a completion runs in one model, steps for chat in another model wait even between the
// completion's steps.

/** One model's place in the order. */
export interface StepTurns {
	/**
	 * The rank of the model's most urgent unfinished request; 0 is the most urgent of all. Undefined while the model has
	 * no request. A place with requests must go on asking for steps until it has none, because less urgent places wait
	 * for it.
	 */
	urgency: number | undefined;
	/** Whether no model has anything to do. */
	readonly idle: boolean;
	/**
	 * Runs a step when its turn has come, and resolves or rejects as the step does. `end` is called when the running step
	 * should not go on for longer than it has to: another model's step that is as urgent waits, or a more urgent place is
	 * about to ask for one.
	 */
	run<T>(step: () => Promise<T>, end?: () => void): Promise<T>;
	/**
	 * The model is closing. Its steps that still wait start at once, without a turn, and find out that the model closes.
	 */
	leave(): void;
}

interface Waiting {
	place: Place;
	start: (hasTurn: boolean) => void;
}

/** Decides which step runs next. The policy is pure: it uses no clock. */
export class StepArbiter {
	readonly #places = new Set<Place>();
	/** Steps that wait, in order of arrival. */
	#waiting: Waiting[] = [];
	#running = false;
	/** The running step, if it can be ended early and has not been ended. */
	#endable: { place: Place; end: () => void } | undefined;

	/** A place for one more model. */
	join(): StepTurns {
		const place = new Place(this);
		this.#places.add(place);
		return place;
	}

	get idle(): boolean {
		return [...this.#places].every(({ urgency }) => urgency === undefined);
	}

	async run<T>(place: Place, step: () => Promise<T>, end?: () => void): Promise<T> {
		const hasTurn = await new Promise<boolean>((start) => {
			this.#waiting.push({ place, start });
			this.next();
		});
		try {
			const result = step();
			if (hasTurn && end) {
				this.#endable = { place, end };
				this.next();
			}
			return await result;
		} finally {
			if (hasTurn) {
				this.#running = false;
				this.#endable = undefined;
			}
			this.next();
		}
	}

	leave(place: Place): void {
		this.#places.delete(place);
		const left = this.#waiting.filter((waiting) => waiting.place === place);
		this.#waiting = this.#waiting.filter((waiting) => waiting.place !== place);
		for (const { start } of left) start(false);
		this.next();
	}

	/**
	 * Starts the most urgent waiting step, unless a more urgent place is about to ask for one. Where a step runs, it is
	 * ended early if one of these is to come first.
	 */
	next(): void {
		const most = Math.min(...[...this.#places].map(rank));
		if (this.#running) {
			if (this.#endable) this.#endFor(this.#endable, most);
			return;
		}
		const index = this.#waiting.findIndex(({ place }) => rank(place) <= most);
		if (index < 0) return;
		const [chosen] = this.#waiting.splice(index, 1);
		this.#running = true;
		chosen!.start(true);
	}

	#endFor({ place, end }: { place: Place; end: () => void }, most: number): void {
		const own = rank(place);
		if (most >= own && !this.#waiting.some((waiting) => rank(waiting.place) <= own)) return;
		this.#endable = undefined;
		end();
	}
}

class Place implements StepTurns {
	readonly #arbiter: StepArbiter;
	#urgency: number | undefined;

	constructor(arbiter: StepArbiter) {
		this.#arbiter = arbiter;
	}

	get urgency(): number | undefined {
		return this.#urgency;
	}

	set urgency(urgency: number | undefined) {
		if (urgency === this.#urgency) return;
		this.#urgency = urgency;
		this.#arbiter.next();
	}

	get idle(): boolean {
		return this.#arbiter.idle;
	}

	run<T>(step: () => Promise<T>, end?: () => void): Promise<T> {
		return this.#arbiter.run(this, step, end);
	}

	leave(): void {
		this.#arbiter.leave(this);
	}
}

const rank = ({ urgency }: Place) => urgency ?? Number.POSITIVE_INFINITY;

/**
 * The place of a model that drafts for another one. It computes in the middle of the other model's steps, with the
 * other model's urgency.
 */
export function onBehalfOf(turns: StepTurns): StepTurns {
	return {
		urgency: undefined,
		get idle() {
			return turns.idle;
		},
		run: (step, end) => turns.run(step, end),
		leave: () => {},
	};
}
