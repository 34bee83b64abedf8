// Child process: opens variants of a model whose metadata were replaced, by the addon and as the engine does, and reports each.
// usage: open-metadata FILE SCRATCH [TARGET]   with TARGET as a draft head of that model   stdin: JSON MetadataCase[]   stdout: a JSON MetadataOutcome a line
import { readFileSync, writeFileSync } from 'node:fs';
import { openModel } from '../../engine/loading/open-model';
import { describeModel } from '../../engine/models/describe';
import { loadNative } from '../../native/index';
import { withMetadata } from './gguf-edit';
import { messageOf } from './message-of';

/** Values by key, in hexadecimal as they lie in a file; null: without the key. */
export type MetadataCase = Record<string, string | null>;

/** What each way to the file says; null: it is accepted. */
export interface MetadataOutcome {
	header: string | null;
	/** What is said of it without opening it. */
	description: string | null;
	/** Opening, asking what it is, and a step. */
	model: string | null;
	/** All that the engine does before it answers. */
	engine: string | null;
}

const [file, scratch, target] = process.argv.slice(2) as [string, string, string | undefined];
const native = loadNative();
const original = readFileSync(file);

async function useModel(): Promise<void> {
	const model = await native.openModel(target ?? scratch, { threads: 1, ...(target && { draftHead: scratch }) });
	try {
		JSON.stringify(model.info);
		const cache = model.createCache({ blocks: 1 });
		await model.step(cache, {
			...{ tokens: Int32Array.of(0), positions: Int32Array.of(0), sequences: Int32Array.of(0) },
			...{ blockTables: [Int32Array.of(0)], outputs: Int32Array.of(0), logits: true },
			draftSequences: Int32Array.of(1),
		});
		cache.close();
	} finally {
		model.close();
	}
}

async function useEngine(): Promise<void> {
	const options = { threads: 1, contextTokens: 32, backend: 'cpu' } as const;
	const { engine } = await openModel(target ?? scratch, { ...options, ...(target && { draftModelPath: scratch }) });
	JSON.stringify(engine.info);
	await engine.close();
}

async function main(): Promise<void> {
	for (const changes of JSON.parse(readFileSync(0, 'utf8')) as MetadataCase[]) {
		const raw = Object.entries(changes).map(([key, hex]) => [key, hex === null ? null : Buffer.from(hex, 'hex')]);
		writeFileSync(scratch, withMetadata(original, Object.fromEntries(raw)));
		const outcome: MetadataOutcome = {
			header: await messageOf(() => native.readGguf(scratch)),
			description: await messageOf(async () => describeModel(await native.readGguf(scratch))),
			model: await messageOf(useModel),
			engine: await messageOf(useEngine),
		};
		process.stdout.write(`${JSON.stringify(outcome)}\n`);
	}
}

void main();
