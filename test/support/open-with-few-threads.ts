// Child process: opens a model while the system starts only a limited number of further threads. It runs with
// native/test/preload/few_threads.cpp.
// usage: open-with-few-threads FILE MOST   stdout: JSON ThreadOutcome[], for 0 to MOST threads
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { loadNative } from '../../native/index';
import { forward, randomTokens } from './forward';

export interface ThreadOutcome {
	/** Why the model could not be opened. null: it was opened. */
	error: string | null;
	/** Threads of the model's pool, and the logits that a step computed. */
	threads: number;
	logits: number[];
	/** Threads of the process that did not exist before. */
	left: number;
}

const [file, most] = process.argv.slice(2) as [string, string];
const WANTED = 4;
const running = () => readdirSync('/proc/self/task').length;

/** Lets the system start only `more` threads beyond those that run. The main thread does not count. */
function limitThreads(more: number): void {
	process.env['HEARTH_TEST_THREADS'] = String(running() - 1 + more);
}

/** Resolves to the reason why the self-test fails when no thread can be started. */
async function selfTestWithoutThreads(): Promise<string | null> {
	limitThreads(0);
	try {
		await loadNative().selfTest({ backend: 'cpu', full: false, seed: 1, report: () => true });
		return null;
	} catch (error) {
		return (error as Error).message;
	} finally {
		delete process.env['HEARTH_TEST_THREADS'];
	}
}

async function attempt(limit: number | undefined): Promise<ThreadOutcome> {
	const before = running();
	const outcome: ThreadOutcome = { error: null, threads: 0, logits: [], left: 0 };
	if (limit !== undefined) limitThreads(limit);
	try {
		const model = await loadNative().openModel(file, { threads: WANTED });
		delete process.env['HEARTH_TEST_THREADS'];
		outcome.threads = model.info.threads;
		const logits = await forward(model, randomTokens(40, model.info.vocabularySize, 1), { positions: [39] });
		outcome.logits = [...logits.slice(0, 8)];
		model.close();
	} catch (error) {
		outcome.error = (error as Error).message;
	}
	delete process.env['HEARTH_TEST_THREADS'];
	outcome.left = running() - before;
	return outcome;
}

async function main(): Promise<void> {
	// Node.js starts its own pool of threads with its first work. They must run before threads are counted.
	await readFile(file);
	await attempt(undefined);
	const outcomes: ThreadOutcome[] = [];
	for (let limit = 0; limit <= Number(most); limit++) outcomes.push(await attempt(limit));
	process.stdout.write(JSON.stringify({ outcomes, selfTest: await selfTestWithoutThreads() }));
}

void main();
