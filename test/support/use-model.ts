// Child process: opens, uses and closes models, and reports what the process holds on the way.
// usage: use-model FILE   stdout: JSON Record<Stage, Held>
import { readdirSync, readFileSync } from 'node:fs';
import { loadNative } from '../../native/index';

export type Stage = 'start' | 'loaded' | 'used' | 'repacked' | 'closed' | 'again';

export interface Held {
	/** Resident memory of this process alone. The next field counts the memory of mapped files. */
	ownBytes: number;
	mappedBytes: number;
	threads: number;
	files: number;
	/** Mappings of the model's file. */
	mappings: number;
}

const [file] = process.argv.slice(2) as [string];
const native = loadNative();

/** Reads what Linux itself counts (man 5 proc). */
async function held(): Promise<Held> {
	// Closing ends threads and frees memory on other threads. A moment and a garbage collection let that settle.
	for (let i = 0; i < 3; i++) {
		globalThis.gc?.();
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	const status = readFileSync('/proc/self/status', 'utf8');
	const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]) * 1024;
	return {
		ownBytes: bytes('RssAnon'),
		mappedBytes: bytes('RssFile') + bytes('RssShmem'),
		threads: readdirSync('/proc/self/task').length,
		files: readdirSync('/proc/self/fd').length,
		mappings: readFileSync('/proc/self/maps', 'utf8').split(file).length - 1,
	};
}

async function main(): Promise<void> {
	const stages: Partial<Record<Stage, Held>> = {};
	// Node.js and the addon take some memory once. No model is responsible for it.
	(await native.openModel(file, { threads: 3 })).close();
	stages.start = await held();
	const use = async (stage?: Stage) => {
		const model = await native.openModel(file, { threads: 3 });
		if (stage) stages[stage] = await held();
		const cache = model.createCache({ blocks: 8 });
		const rows = 256;
		await model.step(cache, {
			tokens: Int32Array.from({ length: rows }, (_, i) => (i * 37) % model.info.vocabularySize),
			positions: Int32Array.from({ length: rows }, (_, i) => i),
			sequences: new Int32Array(rows),
			blockTables: [Int32Array.from({ length: 8 }, (_, i) => i)],
			outputs: Int32Array.of(rows - 1),
		});
		if (stage) {
			stages.used = await held();
			for (let layer = 0; layer < model.info.layers; layer++) await model.repack(layer);
			stages.repacked = await held();
		}
		cache.close();
		model.close();
	};
	await use('loaded');
	stages.closed = await held();
	for (let i = 0; i < 10; i++) await use();
	stages.again = await held();
	process.stdout.write(JSON.stringify(stages));
}

void main();
