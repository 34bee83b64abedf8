// The engine's log: one line an event on standard error, which the extension shows as the engine's output.
import { printable } from '../quote';

/** Bytes of the log that may wait for a reader. Further lines are left out until the reader has caught up. */
const MAX_UNREAD_BYTES = 2 ** 20;

let leftOut = 0;

// A full disk or a reader that has gone does not end the engine. There is no other place to report such an error to.
process.stderr.on('error', () => {});

/** Writes one line with a time stamp. Never throws and never waits: a line that cannot be written is lost. */
export function log(message: string): void {
	if (process.stderr.writableLength > MAX_UNREAD_BYTES) {
		leftOut++;
		return;
	}
	const lines =
		leftOut > 0 ? [`${leftOut} lines of the log were not read in time and are left out`, message] : [message];
	leftOut = 0;
	const time = new Date().toISOString();
	try {
		process.stderr.write(lines.map((line) => `${time} ${printable(line.replace(/\s*\n\s*/g, ' | '))}\n`).join(''));
	} catch {
		// Some systems and versions of Node.js throw instead of emitting `error`.
	}
}

/** An error's message. Errors that only a programming mistake causes bring their stack along. */
export function describe(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	const programming = error instanceof TypeError || error instanceof ReferenceError;
	return programming && error.stack ? error.stack : error.message;
}
