// Child process: changes a model's file at a given moment of its use and reports what came of that.
// usage: change-file FILE OTHER HEAD SCRATCH   stdin: JSON [moment, change][]   stdout: a JSON ChangeOutcome a line
import {
	appendFileSync,
	copyFileSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	truncateSync,
	writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { openModel } from '../../engine/loading/open-model';
import type { Engine } from '../../engine/runtime/engine';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { ModelHost } from '../../engine/services/model-host';
import { loadNative } from '../../native/index';
import { messageOf } from './message-of';

const [file, other, head, scratch] = process.argv.slice(2) as [string, string, string, string];

/** The ways in which a file changes. The mapping of the old file does not see the last three. */
export const changes = {
	empty: (at: string) => truncateSync(at, 0),
	page: (at: string) => truncateSync(at, 4096),
	half: (at: string) => truncateSync(at, statSync(at).size >> 1),
	'last byte': (at: string) => truncateSync(at, statSync(at).size - 1),
	overwritten: (at: string) => writeFileSync(at, Buffer.alloc(statSync(at).size, 7), { flag: 'r+' }),
	appended: (at: string) => appendFileSync(at, 'more'),
	replaced: (at: string) => {
		copyFileSync(other, `${at}.new`);
		renameSync(`${at}.new`, at);
	},
	recreated: (at: string) => {
		rmSync(at);
		copyFileSync(other, at);
	},
	deleted: (at: string) => rmSync(at),
} as const;
export type Change = keyof typeof changes;

export const moments = ['idle', 'busy', 'waiting', 'repacking', 'repacked', 'draft head', 'loading', 'header'] as const;
export type Moment = (typeof moments)[number];

export interface ChangeOutcome {
	/** Errors of the requests that ran or came next. null: the request was answered. */
	errors: (string | null)[];
	/** The state of the host afterwards, and why there is no model. */
	state: string;
	reason: string | null;
	/**
	 * `again`: whether the same file, put back, answers as before. `meanwhile`: whether another model answers before
	 * that.
	 */
	again: boolean;
	meanwhile: boolean;
}

const PROMPT = Array.from({ length: 40 }, (_, i) => (i * 7) % 300);

async function generate(engine: Engine, count = 5, onToken?: (token: number) => undefined): Promise<number[]> {
	const options = { tokens: PROMPT, priority: 'chat', maxTokens: count, ...(onToken && { onToken }) } as const;
	return (await engine.generate(options)).tokens;
}

async function attempt(moment: Moment, change: Change, bystander: Engine, expected: number[]): Promise<ChangeOutcome> {
	rmSync(scratch, { force: true });
	copyFileSync(moment === 'draft head' ? head : file, scratch);
	const act = () => changes[change](scratch);
	const host = new ModelHost(() => {});
	const own = { ...DEFAULT_SETTINGS, contextTokens: 256, threads: 2, completionModelPath: 'none' };
	const settings = {
		...own,
		...(moment === 'draft head'
			? { modelPath: file, draftModelPath: scratch }
			: { modelPath: scratch, draftModelPath: '' }),
	};
	const errors: (string | null)[] = [];
	const request = async (count?: number, onToken?: (token: number) => undefined) => {
		errors.push(await messageOf(async () => generate(host.requireModel().engine, count, onToken)));
	};
	let answers: number[] | undefined;
	if (moment === 'header') {
		const reading = messageOf(() => loadNative().readGguf(scratch));
		act();
		errors.push(await reading);
	} else if (moment === 'loading') {
		const loading = messageOf(() => host.load(settings, 'none'));
		// The file is being read. Each try waits for another moment of the reading.
		for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
		act();
		errors.push(await loading);
		if (host.state.state === 'ready') await request();
	} else {
		const { engine } = await host.load(settings, 'none');
		answers = await generate(engine);
		if (moment === 'busy' || moment === 'waiting') {
			let told = 0;
			const first = request(150, () => {
				if (++told === 3) act();
				return undefined;
			});
			const second = moment === 'waiting' ? request(150) : undefined;
			await Promise.all([first, second]);
		} else if (moment === 'repacking') {
			const moving = engine.finishRepacking();
			act();
			await moving;
		} else {
			if (moment === 'repacked') await engine.finishRepacking();
			act();
		}
		if (host.state.state === 'ready') await request();
	}
	const state = host.state;
	const meanwhile = String(await generate(bystander)) === String(expected);
	rmSync(scratch, { force: true });
	copyFileSync(moment === 'draft head' ? head : file, scratch);
	const reloaded = await host.load(settings, 'none');
	const again = String(await generate(reloaded.engine)) === String(answers ?? expected);
	await host.close();
	return { errors, state: state.state, reason: state.state === 'error' ? state.error : null, again, meanwhile };
}

async function main(): Promise<void> {
	const bystander = await openModel(file, { contextTokens: 256, threads: 1 });
	const expected = await generate(bystander.engine);
	for (const [moment, change] of JSON.parse(readFileSync(0, 'utf8')) as [Moment, Change][]) {
		process.stdout.write(`${JSON.stringify(await attempt(moment, change, bystander.engine, expected))}\n`);
	}
	await bystander.engine.close();
}

if (path.basename(process.argv[1] ?? '') === 'child.cjs') void main();
