// The engine's log: one line an event on standard error, which the extension shows as the engine's output.
import { printable } from '../quote';

/** Writes one line with a time stamp. */
export function log(message: string): void {
	const line = printable(message.replace(/\s*\n\s*/g, ' | '));
	process.stderr.write(`${new Date().toISOString()} ${line}\n`);
}

/** An error's message, with its stack where the error is our own mistake. */
export function describe(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	const programming = error instanceof TypeError || error instanceof ReferenceError;
	return programming && error.stack ? error.stack : error.message;
}
