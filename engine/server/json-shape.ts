// How much work a JSON text is to parse: text in it costs next to nothing, values and nesting do.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Shorter texts are parsed in no time, whatever they hold. */
const SHORT_BYTES = 64 * 2 ** 10;

/** Values in a text at most, and how deep they may lie: such a text takes some 100 ms, one without limits takes many seconds. */
const MAX_VALUES = 200_000;
export const MAX_DEPTH = 512;

/** Why a JSON text is not to be parsed on a thread that others wait for; undefined: it may be. */
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
