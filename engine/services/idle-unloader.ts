// Unloads models that nobody has used for a while. The next request for a model loads it again.
import type { Activity } from './activity';
import type { Models } from './models';

export class IdleUnloader {
	readonly #models: Models;
	readonly #activity: Activity;
	#minutes = 0;
	#timer: NodeJS.Timeout | undefined;
	#closed = false;

	constructor(models: Models, activity: Activity) {
		this.#models = models;
		this.#activity = activity;
	}

	/**
	 * Minutes without work after which models are unloaded; 0 means never. All clients share the value that one of them
	 * set last.
	 */
	set minutes(minutes: number) {
		if (minutes === this.#minutes) return;
		this.#minutes = minutes;
		this.restart();
	}

	/** Begins to wait anew, because something has happened. */
	restart(): void {
		clearTimeout(this.#timer);
		if (this.#minutes === 0 || this.#closed || this.#models.loaded.length === 0 || this.#activity.busy) return;
		this.#timer = setTimeout(() => {
			// `Activity` does not count all work, such as warming up. Models stay loaded while such work runs.
			if (this.#models.loaded.some(({ engine }) => engine.busy)) this.restart();
			else for (const host of Object.values(this.#models.hosts)) void host.sleep();
		}, this.#minutes * 60_000);
	}

	close(): void {
		this.#closed = true;
		clearTimeout(this.#timer);
	}
}
