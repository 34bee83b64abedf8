// Checks how much work parsing a JSON text is. Strings cost next to nothing; values and nesting do.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Shorter texts are parsed at once, whatever they hold. */
const SHORT_BYTES = 64 * 2 ** 10;

/**
 * The most values in a text, and the deepest nesting. A text at these limits takes some 100 ms to parse; one without
 * limits takes many seconds.
 */
const MAX_VALUES = 200_000;
export const MAX_DEPTH = 512;

/** Why a JSON text must not be parsed on a thread that others wait for. Undefined where it may be. */
export function shapeProblem(json: Uint8Array): string | undefined {
	if (json.length <= SHORT_BYTES) return undefined;
	let values = 0;
	let depth = 0;
	for (let i = 0; i < json.length; i++) {
		const byte = json[i]!;
		if (byte === QUOTE) {
			for (i++; i < json.length && json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
		} else if (byte === COMMA || byte === COLON) {
			if (++values > MAX_VALUES) return `a message may hold at most ${MAX_VALUES} values`;
		} else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
			if (++depth > MAX_DEPTH) return `the values of a message may lie ${MAX_DEPTH} deep at most`;
		} else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
			depth--;
		}
	}
	return undefined;
}
