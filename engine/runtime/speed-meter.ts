// Tokens a second over the last seconds of work, for the status bar.

/** Milliseconds of computing that are averaged. Older work does not count. */
const WINDOW = 5_000;

interface Step {
	prefillRows: number;
	decodeRows: number;
	milliseconds: number;
}

/** Measures speed by the time spent computing, so idle time between requests does not lower the figures. */
export class SpeedMeter {
	#steps: Step[] = [];
	#milliseconds = 0;

	record(prefillRows: number, decodeRows: number, milliseconds: number): void {
		this.#steps.push({ prefillRows, decodeRows, milliseconds });
		this.#milliseconds += milliseconds;
		while (this.#steps.length > 1 && this.#milliseconds > WINDOW)
			this.#milliseconds -= this.#steps.shift()!.milliseconds;
	}

	/** A mixed step counts as prefill, because its decode rows add little to its time. */
	read(): { prefill: number; decode: number } | undefined {
		if (this.#steps.length === 0) return undefined;
		const prefill = this.#steps.filter((step) => step.prefillRows > 0);
		const decode = this.#steps.filter((step) => step.prefillRows === 0);
		return {
			prefill: rate(prefill, (step) => step.prefillRows),
			decode: rate(decode, (step) => step.decodeRows),
		};
	}
}

function rate(steps: Step[], rows: (step: Step) => number): number {
	const milliseconds = steps.reduce((sum, step) => sum + step.milliseconds, 0);
	if (milliseconds === 0) return 0;
	return (steps.reduce((sum, step) => sum + rows(step), 0) / milliseconds) * 1000;
}
