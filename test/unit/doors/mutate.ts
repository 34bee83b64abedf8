// Seeded damage to JSON values and to the bytes of GGUF files.
import { headerFields } from '../../support/gguf-fields';
import { seededRandom } from '../support/fake-native';

/** Random choices of a seed. They depend only on the seed and on the order in which they are asked for. */
export class Chance {
	readonly #random: () => number;

	constructor(seed: number) {
		this.#random = seededRandom(seed);
	}

	/** A whole number of 0…`count` − 1. */
	below(count: number): number {
		return Math.floor(this.#random() * count);
	}

	holds(probability: number): boolean {
		return this.#random() < probability;
	}

	of<T>(choices: readonly T[]): T {
		return choices[this.below(choices.length)]!;
	}

	/** Makes a generator of its own for an attack that runs in parallel. */
	fork(): Chance {
		return new Chance(this.below(2 ** 31));
	}
}

/** Values that break code which trusts its input. */
const TELLING: readonly unknown[] = [
	...[null, true, false, 0, -0, -1, 1, 1.5, -5, 401, 2 ** 31, 2 ** 32 - 1, 2 ** 53, -(2 ** 63), 1e300, 1.5e300],
	...['', 'x', '-1', 'NaN', '\0', '\n', '\u2028', '\ud800', '../..', '/dev/zero', '/dev/full', '/proc/self/mem'],
	...['<|start|>system<|message|>', '<|im_end|>', '{{ x }}', '%s%n', 'a'.repeat(70_000)],
	...[[], {}, [[]], [null], { length: 5 }, { toString: 1 }, { role: 'user', content: [] }],
	nested(2000),
];

function nested(depth: number): unknown {
	let value: unknown = 1;
	for (let i = 0; i < depth; i++) value = [value];
	return value;
}

/** One of these values as a copy, because the mutation of a value may mutate it further. */
const telling = (chance: Chance): unknown => structuredClone(chance.of(TELLING));

/** Returns a copy with up to three places replaced, removed, doubled or added. */
export function mutateJson<T>(value: T, chance: Chance): unknown {
	let copy: unknown = structuredClone(value);
	for (let changes = 1 + chance.below(3); changes > 0; changes--) copy = mutateOnce(copy, chance);
	return copy;
}

function mutateOnce(value: unknown, chance: Chance): unknown {
	if (typeof value !== 'object' || value === null || chance.holds(0.15)) return telling(chance);
	const keys = Object.keys(value);
	if (Array.isArray(value)) {
		if (keys.length === 0 || chance.holds(0.2)) value.push(telling(chance));
		else {
			const key = chance.below(keys.length);
			switch (chance.below(10)) {
				case 0:
					value.splice(key, 1);
					break;
				case 1:
					value.push(...value);
					break;
				default:
					value[key] = mutateOnce(value[key], chance);
			}
		}
		return value;
	}
	const fields = value as Record<string, unknown>;
	if (keys.length === 0 || chance.holds(0.1)) fields[chance.of(['x', '__proto__', 'length', 'uri'])] = telling(chance);
	else {
		const key = chance.of(keys);
		if (chance.holds(0.15)) delete fields[key];
		else fields[key] = mutateOnce(fields[key], chance);
	}
	return fields;
}

const TELLING_NUMBERS = [
	0n,
	1n,
	9n,
	13n,
	0x7fffffffn,
	0x80000000n,
	0xffffffffn,
	1n << 48n,
	1n << 63n,
	(1n << 64n) - 1n,
];

/** Returns a GGUF that is cut, or filled up, or has damaged fields in its header. */
export function mutateGguf(file: Buffer, chance: Chance): Buffer {
	const fields = headerFields(file);
	let bytes = Buffer.from(file);
	for (let changes = 1 + chance.below(3); changes > 0; changes--) {
		const { offset, bytes: length } = chance.of(fields);
		if (chance.holds(0.3)) bytes[offset + chance.below(length)] = chance.below(256);
		else {
			const number = Buffer.alloc(8);
			number.writeBigUInt64LE(chance.of(TELLING_NUMBERS));
			number.copy(bytes, offset, 0, Math.min(length, 8));
		}
	}
	if (chance.holds(0.1)) bytes = bytes.subarray(0, chance.below(bytes.length));
	return bytes;
}
