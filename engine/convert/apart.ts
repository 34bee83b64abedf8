// Conversion in a process of its own. Reading a tokenizer of 28 MB and planning gigabytes of weights would hold up the
// engine's other clients. A folder that is made to fill the memory ends only that process, not the engine.
import { fork } from 'node:child_process';
import path from 'node:path';
import type { WriteProgress } from '../gguf/writer';
import { CONVERT_CHILD } from './child-name';
import { type ConvertedModel, convertOnce } from './convert-once';

/** The limit of the process's JavaScript heap. The largest tokenizer, that of gpt-oss, takes a third of it. */
const MOST_MEGABYTES = 1024;

type FromChild = { progress: WriteProgress } | { converted: ConvertedModel } | { error: string };
type ToChild = { folder: string } | { cancel: true };

interface ApartOptions {
	signal?: AbortSignal;
	onProgress?: (progress: WriteProgress) => void;
}

/**
 * Runs `convertOnce` in another process, and throws what it throws. The process exists only in the bundle: from source,
 * as tests run, the conversion runs here.
 */
export async function convertApart(folder: string, { signal, onProgress }: ApartOptions): Promise<ConvertedModel> {
	if (path.basename(__filename) !== 'hearth.js') {
		return convertOnce(folder, { ...(signal && { signal }), ...(onProgress && { onProgress }) });
	}
	signal?.throwIfAborted();
	const child = fork(__filename, [CONVERT_CHILD], {
		execArgv: [`--max-old-space-size=${MOST_MEGABYTES}`],
		stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
	});
	const tell = (message: ToChild) => child.connected && child.send(message, () => undefined);
	const cancel = () => tell({ cancel: true });
	signal?.addEventListener('abort', cancel);
	try {
		let answer: FromChild | undefined;
		child.on('message', (message: FromChild) => {
			if ('progress' in message) onProgress?.(message.progress);
			else answer = message;
		});
		tell({ folder: path.resolve(folder) });
		// Waits for the end of the process, since the process removes its unfinished file before it ends.
		const ended = await new Promise<string>((resolve) => {
			child.once('error', (error) => resolve(error.message));
			child.once('exit', (code, killedBy) => {
				const how = killedBy ?? `exit code ${code}`;
				// The process's last message may arrive after its exit.
				if (child.connected) child.once('disconnect', () => resolve(how));
				else resolve(how);
			});
		});
		signal?.throwIfAborted();
		if (answer && 'converted' in answer) return answer.converted;
		if (answer && 'error' in answer) throw new Error(answer.error);
		throw new Error(
			`${folder}: the conversion ended unexpectedly (${ended}); the folder may need more memory than there is`,
		);
	} finally {
		signal?.removeEventListener('abort', cancel);
	}
}

/**
 * The main function of the process. It converts one folder for the engine that started it, and stops when the engine
 * says so or has gone.
 */
export async function convertForEngine(): Promise<number> {
	if (!process.send) throw new Error(`"${CONVERT_CHILD}" is the engine's own`);
	const cancelled = new AbortController();
	const folder = await new Promise<string | undefined>((resolve) => {
		const cancel = () => {
			cancelled.abort(new Error('cancelled'));
			resolve(undefined);
		};
		process.on('message', (message: ToChild) => ('folder' in message ? resolve(message.folder) : cancel()));
		process.on('disconnect', cancel);
		// Ctrl-C in a terminal reaches the engine and this process.
		process.on('SIGINT', cancel);
		process.on('SIGTERM', cancel);
	});
	const send = (message: FromChild) =>
		new Promise<unknown>((resolve) => (process.connected ? process.send!(message, resolve) : resolve(undefined)));
	if (folder !== undefined) {
		const options = {
			signal: cancelled.signal,
			onProgress: (progress: WriteProgress) => void send({ progress }),
		};
		await send(
			await convertOnce(folder, options).then(
				(converted) => ({ converted }),
				(error: Error) => ({ error: error.message }),
			),
		);
	}
	if (process.connected) process.disconnect();
	return 0;
}
