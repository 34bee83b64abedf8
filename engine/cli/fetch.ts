// `hearth fetch NAME`: downloads a model of the catalogue, or continues its download.
import path from 'node:path';
import { catalogueEntry, totalBytes } from '../models/catalogue';
import type { DownloadProgress } from '../models/download';
import { downloadModel } from '../models/downloads';
import { downloadFolder } from '../models/list';
import { formatBytes } from '../units';
import { parseCommandLine, UsageError, withInterrupt, writeJson, writeOutput } from './command';

const HELP = `usage: hearth fetch NAME [options]

Downloads a model ("hearth models" lists their names), verifies its checksum and prints where it is. Ctrl-C pauses: the same
command continues, also after a crash. Goes through the proxy that HTTPS_PROXY names, except to the hosts of NO_PROXY.

  --to FOLDER      where to (default ${downloadFolder()})
  --json           print { "path", "bytes" }
`;

/** Milliseconds between changes of the line on the terminal. */
const SHOWN_EVERY = 200;

export async function fetchModel(args: string[]): Promise<void> {
	const options = { to: { type: 'string' }, json: { type: 'boolean' } } as const;
	const { values, positionals } = parseCommandLine(args, HELP, options, ['NAME']);
	if (values.to === '') throw new UsageError('--to is empty');
	const entry = catalogueEntry(positionals[0]!);
	const folder = values.to === undefined ? downloadFolder() : path.resolve(values.to);
	const total = totalBytes(entry);
	process.stderr.write(
		`${entry.name}, ${total === undefined ? 'size as its host says' : formatBytes(total)}, ` +
			`licence ${entry.license ?? 'see its page'}, from ${entry.page}\n`,
	);
	let bytes = total;
	const show = progressLine();
	const file = await withInterrupt((signal) =>
		downloadModel(entry, folder, {
			network: {},
			signal,
			onProgress: (progress) => {
				bytes = progress.totalBytes ?? bytes;
				show(progress);
			},
		}),
	).finally(() => show());
	await (values.json ? writeJson({ path: file, bytes }) : writeOutput(`${file}\n`));
}

/**
 * Keeps one line on a terminal up to date; a call without an argument ends the line. Where standard error is no
 * terminal, only waits are reported.
 */
function progressLine(): (progress?: DownloadProgress) => void {
	let shownAt = 0;
	let told: string | undefined;
	let began: { at: number; bytes: number } | undefined;
	return (progress) => {
		const terminal = process.stderr.isTTY;
		if (!progress) {
			if (terminal && shownAt > 0) process.stderr.write('\n');
			return;
		}
		const { state, receivedBytes, totalBytes: total, message } = progress;
		if (message !== undefined && message !== told)
			process.stderr.write(`${terminal ? '\n' : ''}${message}; trying again\n`);
		told = message;
		const now = performance.now();
		if (state !== 'downloading') began = undefined;
		else began ??= { at: now, bytes: receivedBytes };
		if (!terminal || now - shownAt < SHOWN_EVERY) return;
		shownAt = now;
		const speed = began && now > began.at ? ((receivedBytes - began.bytes) / (now - began.at)) * 1000 : 0;
		const done =
			total === undefined ? formatBytes(receivedBytes) : `${formatBytes(receivedBytes)} of ${formatBytes(total)}`;
		process.stderr.write(`\r\x1b[K${state} ${done}${speed > 0 ? `, ${formatBytes(speed)}/s` : ''}`);
	};
}
