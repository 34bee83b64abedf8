// Child process: opens variants of a model whose metadata were replaced, by the addon alone and as the engine does. It
// reports what came of each.
// usage: open-metadata FILE SCRATCH [TARGET]   stdin: JSON MetadataCase[]   stdout: a JSON MetadataOutcome a line
// With TARGET, each variant is opened as a draft head of that model.
import { readFileSync, writeFileSync } from 'node:fs';
import { openModel } from '../../engine/loading/open-model';
import { describeModel } from '../../engine/models/describe';
import { loadNative } from '../../native/index';
import { withMetadata } from './gguf-edit';
import { messageOf } from './message-of';

/** Values by key, in hexadecimal as they lie in a file. null removes the key. */
export type MetadataCase = Record<string, string | null>;

/** What each way of using the file says. null: the file was accepted. */
export interface MetadataOutcome {
	header: string | null;
	/** What describing the file without opening it says. */
	description: string | null;
	/** What opening the model, reading its facts and running a step say. */
	model: string | null;
	/** What the engine says, with all that it does before it answers. */
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
