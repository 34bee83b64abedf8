// `hearth generate MODEL`: continues a prompt, or answers it as a chat message, streaming to standard output.
import { readFile } from 'node:fs/promises';
import type { Sampling } from '../../native/index';
import { Answer } from '../chat/answer';
import { localDate } from '../chat/local-date';
import { type AnswerParser, type Channel, requireChat } from '../families/family';
import { type OpenedModel, openModel } from '../loading/open-model';
import { messageOf } from '../quote';
import type { GenerateResult } from '../runtime/request';
import { SETTINGS } from '../settings';
import { StreamDecoder } from '../tokenizer/stream-decoder';
import {
	choiceOption,
	InterruptedError,
	integerOption,
	numberOption,
	parseCommandLine,
	parseTokenIds,
	readStandardInput,
	UsageError,
	withInterrupt,
	writeJson,
	writeOutput,
} from './command';
import { ENGINE_OPTIONS, ENGINE_OPTIONS_HELP, engineOptions, requireDraft } from './engine-options';
import { CACHE_OPTIONS, CACHE_OPTIONS_HELP, MODEL_OPTIONS, MODEL_OPTIONS_HELP, modelOptions } from './model-options';

const HELP = `usage: hearth generate MODEL (--prompt TEXT | --prompt-file FILE | --tokens IDS) [options]

Continues the prompt and streams the text to standard output.

  --prompt TEXT    the prompt; "-", or no prompt at all, reads it from standard input
  --prompt-file F  the prompt is in a file
  --tokens IDS     the prompt as token ids, separated by commas or spaces
  --chat           the prompt is a chat message: prints the answer, the reasoning goes to standard error
  --reasoning E    low, medium or high, with --chat (default medium)
  --max-tokens N   tokens to generate at most (default 256)
  --temperature T  0 is greedy (default 0, with --chat what the model's family recommends)
  --top-k N        only the N likeliest tokens (default 0: all)
  --top-p P        only the likeliest tokens that make up P together (default 1: all)
  --min-p P        only tokens at least P times as likely as the likeliest (default 0: all)
  --seed N         seed of the sampling (default: random)
  --context N      positions of the context (default: what prompt and answer need)
  --no-stop        do not stop at the end of the text or turn
${MODEL_OPTIONS_HELP}
${ENGINE_OPTIONS_HELP}
${CACHE_OPTIONS_HELP}
  --json           print one JSON document: tokens, text, stop reason, drafts and timings
`;

const OPTIONS = {
	...MODEL_OPTIONS,
	...ENGINE_OPTIONS,
	...CACHE_OPTIONS,
	prompt: { type: 'string' },
	'prompt-file': { type: 'string' },
	tokens: { type: 'string' },
	chat: { type: 'boolean' },
	reasoning: { type: 'string' },
	'max-tokens': { type: 'string' },
	temperature: { type: 'string' },
	'top-k': { type: 'string' },
	'top-p': { type: 'string' },
	'min-p': { type: 'string' },
	seed: { type: 'string' },
	context: { type: 'string' },
	'no-stop': { type: 'boolean' },
	json: { type: 'boolean' },
} as const;

export async function generate(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, OPTIONS, ['MODEL']);
	const given = [values.prompt, values['prompt-file'], values.tokens].filter((value) => value !== undefined);
	if (given.length > 1) throw new UsageError('give one of --prompt, --prompt-file and --tokens');
	if (values.chat && values.tokens !== undefined) throw new UsageError('--chat takes text, not --tokens');
	const { reasoningEffort: efforts } = SETTINGS.chat;
	const reasoningEffort = choiceOption('reasoning', values.reasoning, efforts.choices) ?? efforts.default;
	const maxTokens = integerOption('max-tokens', values['max-tokens'], 1) ?? 256;
	// This may be less than the setting allows: a single run needs no room for a chat's answer or for a completion's
	// excerpts.
	const contextTokens = integerOption('context', values.context, 2);
	const temperature = numberOption('temperature', values.temperature, 0, 100);
	const topP = numberOption('top-p', values['top-p'], 0, 1);
	const otherSampling = {
		topK: integerOption('top-k', values['top-k'], 0) ?? 0,
		minP: numberOption('min-p', values['min-p'], 0, 1) ?? 0,
		seed: integerOption('seed', values.seed, 0) ?? Math.floor(Math.random() * 2 ** 32),
	};
	const options = { ...modelOptions(values), ...engineOptions(values) };
	const ids = values.tokens === undefined ? undefined : parseTokenIds('--tokens', values.tokens);
	const prompt = ids ? '' : await readPrompt(values.prompt, values['prompt-file']);
	const encode = ({ tokenizer, family }: Pick<OpenedModel, 'tokenizer' | 'family'>) => {
		if (ids) return Int32Array.from(ids);
		if (!values.chat) {
			const text = tokenizer.encode(prompt);
			return tokenizer.bosId === undefined ? text : Int32Array.from([tokenizer.bosId, ...text]);
		}
		const currentDate = localDate(new Date());
		return requireChat(family).encode({ currentDate, reasoningEffort, turns: [{ role: 'user', content: prompt }] });
	};

	const model = await openModel(positionals[0]!, {
		...options,
		contextTokens: contextTokens ?? ((opened) => encode(opened).length + maxTokens),
	});
	await requireDraft(model);
	try {
		const { family } = model;
		const tokens = encode(model);
		const silent = values.json === true;
		const recommended = values.chat ? requireChat(family).sampling : { temperature: 0, topP: 1 };
		const sampling: Sampling = {
			...otherSampling,
			temperature: temperature ?? recommended.temperature,
			topP: topP ?? recommended.topP,
		};
		const sink = values.chat
			? new ChatSink(requireChat(family).parser(tokens), silent, !values['no-stop'])
			: new TextSink(model, silent);
		const result = await withInterrupt((signal) =>
			model.engine.generate({
				tokens,
				priority: 'chat',
				sampling,
				maxTokens,
				stopIds: values['no-stop'] ? new Set() : values.chat ? requireChat(family).stopIds : family.endOfText,
				signal: AbortSignal.any([signal, sink.closed]),
				onToken: (token) => sink.push(token),
			}),
		).catch(async (error) => {
			if (error instanceof InterruptedError) await sink.finish('canceled');
			throw error;
		});
		await sink.finish(result.stopReason);
		if (values.json) await writeJson(report(result, sink, sampling));
	} finally {
		await model.engine.close();
	}
}

async function readPrompt(prompt: string | undefined, file: string | undefined): Promise<string> {
	if (file !== undefined) {
		try {
			return await readFile(file, 'utf8');
		} catch (error) {
			throw new Error(`cannot read the prompt: ${messageOf(error)}`);
		}
	}
	if (prompt !== undefined && prompt !== '-') return prompt;
	return String(await readStandardInput());
}

function report(result: GenerateResult, sink: Sink, sampling: Sampling): object {
	const { tokens, stopReason, stopToken, promptTokens, cachedTokens, drafts, timings } = result;
	const prefill = timings.firstTokenMilliseconds;
	return {
		...sink.result(stopReason),
		tokens,
		stopReason,
		...(stopToken !== undefined && { stopToken }),
		promptTokens,
		cachedTokens,
		drafts,
		seed: sampling.seed,
		timings: {
			...timings,
			prefillTokensPerSecond: prefill > 0 ? ((promptTokens - cachedTokens) / prefill) * 1000 : 0,
		},
	};
}

interface Sink {
	push(token: number): 'stop' | undefined;
	finish(stopReason: GenerateResult['stopReason']): Promise<void>;
	result(stopReason: GenerateResult['stopReason']): object;
	/** Aborted when nobody reads our output any more. */
	readonly closed: AbortSignal;
}

/** Writes without waiting. The first error stops the generation, and `finish` throws it. */
class Output {
	readonly #controller = new AbortController();
	#pending: Promise<void> = Promise.resolve();

	get closed(): AbortSignal {
		return this.#controller.signal;
	}

	write(text: string): void {
		this.#pending = Promise.all([this.#pending, writeOutput(text)]).then(() => {});
		this.#pending.catch(() => this.#controller.abort());
	}

	flush(): Promise<void> {
		return this.#pending;
	}
}

class TextSink implements Sink {
	readonly #decoder: StreamDecoder;
	readonly #output = new Output();
	readonly #silent: boolean;
	#text = '';

	constructor({ tokenizer }: OpenedModel, silent: boolean) {
		this.#decoder = new StreamDecoder(tokenizer.vocabulary);
		this.#silent = silent;
	}

	get closed(): AbortSignal {
		return this.#output.closed;
	}

	push(token: number): undefined {
		this.#write(this.#decoder.push(token));
	}

	async finish(): Promise<void> {
		this.#write(this.#decoder.end());
		if (!this.#silent) this.#output.write('\n');
		await this.#output.flush();
	}

	result(): object {
		return { text: this.#text };
	}

	#write(text: string): void {
		this.#text += text;
		if (text !== '' && !this.#silent) this.#output.write(text);
	}
}

/** Exported for its tests. */
export class ChatSink implements Sink {
	readonly #output = new Output();
	readonly #answer = new Answer(({ channel, text }) => this.#show(channel, text));
	readonly #parser: AnswerParser;
	readonly #silent: boolean;
	readonly #stops: boolean;
	#shown: Channel | undefined;

	/** @param stops whether a complete answer ends the generation. */
	constructor(parser: AnswerParser, silent: boolean, stops: boolean) {
		this.#parser = parser;
		this.#silent = silent;
		this.#stops = stops;
	}

	get closed(): AbortSignal {
		return this.#output.closed;
	}

	push(token: number): 'stop' | undefined {
		this.#answer.take(this.#parser.push(token));
		return this.#stops && this.#parser.complete ? 'stop' : undefined;
	}

	async finish(stopReason: GenerateResult['stopReason']): Promise<void> {
		this.#answer.take(this.#parser.finish());
		if (!this.#silent) this.#output.write('\n');
		await this.#output.flush();
		const empty = this.#answer.emptyBecause(stopReason);
		if (empty !== undefined && !this.#silent)
			process.stderr.write(`${this.#shown ? '\n' : ''}hearth generate: ${empty}\n`);
	}

	result(stopReason: GenerateResult['stopReason']): object {
		const { content, preamble } = this.#answer.spoken;
		const empty = this.#answer.emptyBecause(stopReason);
		return {
			text: content,
			...(preamble !== undefined && { preamble }),
			reasoning: this.#answer.reasoning,
			...(empty !== undefined && { empty }),
		};
	}

	/** Writes the answer to standard output and the reasoning to standard error. A blank line separates them. */
	#show(channel: Channel, text: string): void {
		if (this.#silent) return;
		const before = this.#shown;
		this.#shown = channel;
		if (channel === 'analysis') {
			process.stderr.write(text);
			return;
		}
		if (before === 'analysis') process.stderr.write('\n\n');
		this.#output.write(before === 'commentary' && channel === 'final' ? `\n\n${text}` : text);
	}
}
