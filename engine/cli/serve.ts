// `hearth serve`: runs the language server for editors, over standard input and output or over a socket.
import os from 'node:os';
import path from 'node:path';
import { endOnUnhandledErrors, serveSocket, serveStreams } from '../server/server';
import { DEFAULT_SETTINGS } from '../server/settings';
import { SETTINGS } from '../settings';
import { integerOption, numberOption, parseCommandLine, UsageError } from './command';
import { ENGINE_OPTIONS, ENGINE_OPTIONS_HELP, engineOptions } from './engine-options';
import { MODEL_OPTIONS, MODEL_OPTIONS_HELP, modelOptions } from './model-options';

const HELP = `usage: hearth serve (--stdio | --socket PATH) [options]

The language server (LSP 3.18) for any editor: inline completion by textDocument/inlineCompletion, and Hearth's own
requests for chat, benchmark, status and model loading.

  --stdio          one client, on standard input and output; ends with it
  --socket PATH    any number of clients on a Unix socket (or a Windows pipe, \\\\.\\pipe\\NAME), one model for all
  --linger N       seconds the socket waits for clients once the last has gone (default 5)
  --model MODEL    load this model at once; without it, clients choose
  --completion-model MODEL
                   another model for completions (default: --model's)
  --context N      positions a conversation or completion may span, unless a client sets it (default ${DEFAULT_SETTINGS.contextTokens})
${MODEL_OPTIONS_HELP}
${ENGINE_OPTIONS_HELP}
`;

const OPTIONS = {
	...MODEL_OPTIONS,
	...ENGINE_OPTIONS,
	stdio: { type: 'boolean' },
	socket: { type: 'string' },
	linger: { type: 'string' },
	model: { type: 'string' },
	'completion-model': { type: 'string' },
	context: { type: 'string' },
	// Language clients add this option to every server's arguments.
	clientProcessId: { type: 'string' },
} as const;

/**
 * Milliseconds that running work may take to end when the process is told to end. Then the process ends all the same.
 */
const SHUTDOWN_GRACE = 2_000;

export async function serve(args: string[]): Promise<void> {
	const { values } = parseCommandLine(args, HELP, OPTIONS, []);
	if ((values.stdio === true) === (values.socket !== undefined)) {
		throw new UsageError('give either --stdio or --socket PATH');
	}
	const linger = numberOption('linger', values.linger, 0, 1e6) ?? 5;
	const { threads, kernels, backend, matrixUnits, rope } = modelOptions(values);
	const { speculation, repack } = engineOptions(values);
	const contextTokens = integerOption('context', values.context, ...SETTINGS.contextTokens.accepts);
	const settings = {
		...DEFAULT_SETTINGS,
		modelPath: absolute(values.model),
		completionModelPath: absolute(values['completion-model']),
		draftModelPath: absolute(values.draft),
		...(contextTokens !== undefined && { contextTokens }),
		...(threads !== undefined && { threads }),
		...(kernels !== undefined && { kernels }),
		...(backend !== undefined && { backend }),
		...(matrixUnits && { matrixUnits }),
		...(rope !== undefined && { rope }),
		speculation,
		repackWeights: repack,
	};

	yieldToTheEditor();
	endOnUnhandledErrors();
	const controller = new AbortController();
	const stop = () => {
		controller.abort();
		setTimeout(() => process.exit(0), SHUTDOWN_GRACE).unref();
	};
	for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);

	let clean = true;
	if (values.socket !== undefined) {
		await serveSocket(values.socket, linger, { settings }, controller.signal);
	} else {
		clean = await serveStreams(process.stdin, process.stdout, { settings }, controller.signal);
	}
	// Open pipes and a step that still runs would keep the process alive.
	process.exit(clean || controller.signal.aborted ? 0 : 1);
}

function absolute(file: string | undefined): string {
	return file === undefined ? '' : path.resolve(file);
}

/**
 * Lowers this process's priority, so that the editor's own processes come first where the processor is busy. This must
 * come before the native threads are made: on Linux a thread has the priority of the thread that made it.
 */
function yieldToTheEditor(): void {
	try {
		os.setPriority(os.constants.priority.PRIORITY_BELOW_NORMAL);
	} catch {
		// Some sandboxes forbid a lower priority. It is only a courtesy.
	}
}
