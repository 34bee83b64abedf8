// Conversion in a process of its own: reading a tokenizer of 28 MB and laying out gigabytes of weights would hold up everybody the
// engine serves, and a folder made to fill the memory ends that process, not the engine.
import { fork } from 'node:child_process';
import path from 'node:path';
import type { WriteProgress } from '../gguf/writer';
import { CONVERT_CHILD } from './child-name';
import { type ConvertedModel, convertOnce } from './convert-once';

/** Of JavaScript's memory. gpt-oss's tokenizer, the largest there is, takes a third of it. */
const MOST_MEGABYTES = 1024;

type FromChild = { progress: WriteProgress } | { converted: ConvertedModel } | { error: string };
type ToChild = { folder: string } | { cancel: true };

interface ApartOptions {
	signal?: AbortSignal;
	onProgress?: (progress: WriteProgress) => void;
}

/** `convertOnce` elsewhere. From source, as tests run, there is no such process and it happens here. Throws the same. */
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
		// Whatever happens, what it has begun to write is gone when this is over.
		const ended = await new Promise<string>((resolve) => {
			child.once('error', (error) => resolve(error.message));
			child.once('exit', (code, killedBy) => {
				const how = killedBy ?? `exit code ${code}`;
				// Its last message may still be on the way.
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

/** What the process does: converts one folder for the engine that has started it, or stops when that wants it or has gone. */
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
		// Ctrl-C in a terminal reaches both.
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
