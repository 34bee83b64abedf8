// The parts that all `hearth` commands share: argument parsing with a help text, errors of one line, output that
// survives a closed pipe, and Ctrl-C as an AbortSignal.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { messageOf, quote } from '../quote';

/** A mistake in how a command was called. It is printed as one line with a pointer to `--help`; the exit code is 1. */
export class UsageError extends Error {
	override name = 'UsageError';
}

/** Thrown by `parseCommandLine` when `--help` was asked for. The command line prints `text` and exits with 0. */
export class HelpRequested extends Error {
	readonly text: string;

	constructor(text: string) {
		super('help');
		this.text = text;
	}
}

/** Thrown when the user pressed Ctrl-C. The exit code is then 130, as shells expect. */
export class InterruptedError extends Error {
	constructor() {
		super('interrupted');
	}
}

/** Standard output cannot be written to. `code` is EPIPE where nobody reads it any more. */
export class OutputError extends Error {
	readonly code: string | undefined;

	constructor(cause: NodeJS.ErrnoException) {
		super(`cannot write to standard output: ${cause.message}`, { cause });
		this.code = cause.code;
	}
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<O extends Options> = ReturnType<typeof parseArgs<{ options: O; allowPositionals: true; strict: true }>>;

/**
 * Parses `args` strictly. Every command understands `--help` (`-h`).
 * @param positionals names of the positional arguments, for messages. All are required but those in brackets.
 * @throws HelpRequested, or UsageError on an unknown option, a missing value or a wrong number of positionals.
 */
export function parseCommandLine<const O extends Options>(
	args: string[],
	help: string,
	options: O,
	positionals: readonly string[],
): Parsed<O> {
	if (args.includes('--help') || args.includes('-h')) throw new HelpRequested(help);
	let parsed: Parsed<O>;
	try {
		parsed = parseArgs({ args, options, allowPositionals: true, strict: true });
	} catch (error) {
		// Node adds advice about `--` in further sentences. The first sentence names the option.
		throw new UsageError(messageOf(error).split(/\.(?:\s|$)/)[0] ?? 'invalid arguments');
	}
	const missing = positionals[parsed.positionals.length];
	if (missing !== undefined && !missing.startsWith('[')) throw new UsageError(`${missing} is missing`);
	const extra = parsed.positionals[positionals.length];
	if (extra !== undefined) throw new UsageError(`unexpected argument ${quote(extra)}`);
	return parsed;
}

/**
 * Reads an integer option.
 * @throws UsageError if it is no integer between `minimum` and `maximum`.
 */
export function integerOption(
	name: string,
	value: string | undefined,
	minimum: number,
	maximum = Number.MAX_SAFE_INTEGER,
): number | undefined {
	if (value === undefined) return undefined;
	const number = Number(value);
	if (value.trim() === '' || !Number.isSafeInteger(number) || number < minimum || number > maximum) {
		const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
		throw new UsageError(`--${name} takes an integer ${range}, not ${quote(value)}`);
	}
	return number;
}

/**
 * Reads an option that is a real number.
 * @throws UsageError if it is no number between `minimum` and `maximum`.
 */
export function numberOption(
	name: string,
	value: string | undefined,
	minimum: number,
	maximum: number,
): number | undefined {
	if (value === undefined) return undefined;
	const number = Number(value);
	if (value.trim() === '' || !Number.isFinite(number) || number < minimum || number > maximum) {
		throw new UsageError(`--${name} takes a number from ${minimum} to ${maximum}, not ${quote(value)}`);
	}
	return number;
}

/**
 * Reads an option that is one of a few words.
 * @throws UsageError naming the choices.
 */
export function choiceOption<const T extends string>(
	name: string,
	value: string | undefined,
	choices: readonly T[],
): T | undefined {
	if (value === undefined) return undefined;
	const choice = choices.find((candidate) => candidate === value);
	if (choice === undefined) throw new UsageError(`--${name} takes ${choices.join(', ')}; not ${quote(value)}`);
	return choice;
}

/**
 * Reads token ids separated by commas or white space.
 * @throws UsageError on anything that is no id below 2^31.
 */
export function parseTokenIds(name: string, text: string): number[] {
	const words = text.split(/[\s,]+/).filter((word) => word !== '');
	if (words.length === 0) throw new UsageError(`${name} holds no token ids`);
	return words.map((word) => {
		const id = Number(word);
		if (!/^\d+$/.test(word) || id >= 2 ** 31) throw new UsageError(`${name}: ${quote(word)} is no token id`);
		return id;
	});
}

/** All of standard input. */
export async function readStandardInput(): Promise<Buffer> {
	const chunks: Buffer[] = [];
	for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
	return Buffer.concat(chunks);
}

/**
 * Writes to standard output. Waits where the reader is slower than this process.
 * @throws OutputError
 */
export function writeOutput(data: string | Uint8Array): Promise<void> {
	return new Promise<void>((resolve, reject) => {
		process.stdout.write(data, (error) => (error ? reject(error) : resolve()));
	}).catch((error) => {
		throw new OutputError(error);
	});
}

/** Prints one JSON document, for `--json`. */
export function writeJson(value: unknown): Promise<void> {
	return writeOutput(`${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Runs `work` with a signal that Ctrl-C (or SIGTERM) aborts, so that it can end cleanly. A second Ctrl-C kills the
 * process.
 * @throws InterruptedError if the signal was aborted, once `work` has ended.
 */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
	const controller = new AbortController();
	const interrupt = () => {
		if (controller.signal.aborted) process.exit(130);
		controller.abort();
	};
	process.on('SIGINT', interrupt);
	process.on('SIGTERM', interrupt);
	try {
		const result = await work(controller.signal);
		if (controller.signal.aborted) throw new InterruptedError();
		return result;
	} catch (error) {
		throw controller.signal.aborted ? new InterruptedError() : error;
	} finally {
		process.off('SIGINT', interrupt);
		process.off('SIGTERM', interrupt);
	}
}
