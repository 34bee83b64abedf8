// Child process: opens damaged variants of a model file one after another and reports what came of each.
// usage: open-damaged FILE SCRATCH REPEAT   stdin: JSON Damage[]   stdout: a JSON Outcome a line, then one JSON Usage
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadNative } from '../../native/index';
import { messageOf } from './message-of';

/** A variant of the file. It is cut to a length, or filled up to it with zeros; then these bytes are replaced. */
export interface Damage {
	patches: { offset: number; hex: string }[];
	length?: number;
}

export interface Outcome {
	/** Message of the rejection, or null when the header was accepted. */
	header: string | null;
	/** The same for opening the model and for a step of it. */
	model: string | null;
	step: string | null;
}

/** What this process holds after the first round over all variants, and after the last round. */
export interface Usage {
	first: Held;
	last: Held;
}
export interface Held {
	residentBytes: number;
	files: number;
	threads: number;
	/** Mappings of the damaged file that still exist. */
	mappings: number;
}

const [file, scratch, repeat] = process.argv.slice(2) as [string, string, string];
const native = loadNative();
const original = readFileSync(file);
const damages = JSON.parse(readFileSync(0, 'utf8')) as Damage[];

async function attempt(damage: Damage): Promise<Outcome> {
	const bytes = Buffer.alloc(damage.length ?? original.length);
	original.copy(bytes);
	for (const { offset, hex } of damage.patches) Buffer.from(hex, 'hex').copy(bytes, offset);
	writeFileSync(scratch, bytes);
	const header = await messageOf(() => native.readGguf(scratch));
	let step: string | null = null;
	const model = await messageOf(async () => {
		const opened = await native.openModel(scratch, { threads: 1 });
		step = await messageOf(async () => {
			const cache = opened.createCache({ blocks: 1 });
			await opened.step(cache, {
				tokens: Int32Array.of(0),
				positions: Int32Array.of(0),
				sequences: Int32Array.of(0),
				blockTables: [Int32Array.of(0)],
				outputs: Int32Array.of(0),
			});
			cache.close();
		});
		opened.close();
	});
	return { header, model, step };
}

function held(): Held {
	globalThis.gc?.();
	const linux = process.platform === 'linux';
	return {
		residentBytes: process.memoryUsage.rss(),
		files: linux ? readdirSync('/proc/self/fd').length : 0,
		threads: linux ? readdirSync('/proc/self/task').length : 0,
		mappings: linux ? readFileSync('/proc/self/maps', 'utf8').split(scratch).length - 1 : 0,
	};
}

async function main(): Promise<void> {
	for (const damage of damages) process.stdout.write(`${JSON.stringify(await attempt(damage))}\n`);
	const first = held();
	for (let round = 1; round < Number(repeat); round++) for (const damage of damages) await attempt(damage);
	process.stdout.write(`${JSON.stringify({ first, last: held() } satisfies Usage)}\n`);
}

void main();
