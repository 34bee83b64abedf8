// Waiting for a condition. Machines are shared and slow at times, so nothing here has a time limit.

const PAUSE = 5;

/** Waits until a condition holds. */
export async function until(condition: () => boolean): Promise<void> {
	while (!condition()) await new Promise((resolve) => setTimeout(resolve, PAUSE));
}

/** Waits until a check that throws has stopped throwing. */
export function eventually(check: () => void): Promise<void> {
	return until(() => {
		try {
			check();
			return true;
		} catch {
			return false;
		}
	});
}
