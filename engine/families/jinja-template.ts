// Chat formats from a GGUF's own template (`tokenizer.chat_template`, Jinja). The template is untrusted: it runs in an interpreter
// that knows nothing but its variables, for a limited time, with limited output. It never sees the users' texts: it is rendered
// with placeholders, and the texts are put in between its parts afterwards, where nothing in them can become a special token.
import { randomBytes } from 'node:crypto';
import vm from 'node:vm';
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { PLAIN_SAMPLING } from './chat-markup';
import type { ChatFormat, ChatPrompt } from './family';
import { PlainAnswerParser } from './plain-answer';
import { PromptBuilder } from './prompt-builder';

/** The longest published templates have some 20,000 characters. */
const MAX_TEMPLATE = 200_000;
/** Milliseconds; a rendering takes about one, on a busy machine a hundred. */
const MAX_TIME = 2000;
const MAX_RANGE = 10_000;
/** Characters that a template may write beside the messages, in all and for each of them. */
const MAX_OUTPUT = 65_536;
const MAX_OUTPUT_A_MESSAGE = 4096;

interface Message {
	role: 'system' | 'user' | 'assistant';
	content: string;
}

export interface TemplateOptions {
	stopIds: ReadonlySet<number>;
	/** Names of the tokens that begin and end a text, which templates write themselves. */
	bosToken: string;
	eosToken: string;
	sampling?: ChatFormat['sampling'];
}

/**
 * Makes a chat format of a template.
 * @throws an error that says what is wrong with it: it does not parse, fails on a plain conversation, takes too long, writes too
 * much, or leaves the user's message out.
 */
export function templateChatFormat(template: string, tokenizer: Tokenizer, options: TemplateOptions): ChatFormat {
	if (template.length > MAX_TEMPLATE) throw new Error(`the template has ${template.length} characters`);
	const render = compile(template);
	const marks = new Placeholders();

	const writeMessages = (messages: readonly Message[], { currentDate, reasoningEffort }: ChatPrompt): PromptBuilder => {
		const text = render({
			messages: messages.map(({ role }, i) => ({ role, content: marks.of(i) })),
			add_generation_prompt: true,
			bos_token: options.bosToken,
			eos_token: options.eosToken,
			tools: null,
			documents: null,
			// Qwen 3's switch; others ignore it.
			enable_thinking: reasoningEffort !== 'low',
			reasoning_effort: reasoningEffort,
			date_string: formatDate('%d %b %Y', currentDate),
			strftime_now: (format: string) => formatDate(format, currentDate),
		});
		if (text.length > MAX_OUTPUT + messages.length * MAX_OUTPUT_A_MESSAGE) throw new Error('it writes too much');
		const parts = marks.split(text);
		const last = messages.length - 1;
		if (!parts.some((part) => typeof part !== 'string' && part.index === last)) {
			throw new Error("it leaves the user's message out");
		}
		const builder = new PromptBuilder(tokenizer);
		if (tokenizer.bosId !== undefined && !text.startsWith(options.bosToken)) builder.special(tokenizer.bosId);
		for (const part of parts) {
			if (typeof part !== 'string') {
				const { content } = messages[part.index]!;
				const trimmed = part.trimmedStart ? content.trimStart() : content;
				builder.text(part.trimmedEnd ? trimmed.trimEnd() : trimmed);
				continue;
			}
			for (const piece of tokenizer.splitSpecials(part)) {
				if (typeof piece === 'number') builder.special(piece);
				else builder.text(piece);
			}
		}
		return builder;
	};

	let takesSystem = true;
	const write = (prompt: ChatPrompt): PromptBuilder => {
		const { instructions, turns } = prompt;
		if (!instructions) return writeMessages(turns, prompt);
		if (takesSystem) return writeMessages([{ role: 'system', content: instructions }, ...turns], prompt);
		// As the publishers of such models advise, the first message begins with the instructions.
		const first = turns.findIndex(({ role }) => role === 'user');
		const given = turns.map((turn, i) =>
			i === first ? { ...turn, content: `${instructions}\n\n${turn.content}` } : turn,
		);
		return writeMessages(given, prompt);
	};

	const turns = [
		{ role: 'user', content: 'a' },
		{ role: 'assistant', content: 'b' },
		{ role: 'user', content: 'c' },
	] as const;
	const probe: ChatPrompt = { currentDate: '2026-01-01', reasoningEffort: 'medium', turns };
	write(probe);
	try {
		write({ ...probe, instructions: 'd' });
	} catch {
		takesSystem = false;
		write({ ...probe, instructions: 'd' });
	}

	return {
		name: 'its own template',
		sampling: options.sampling ?? PLAIN_SAMPLING,
		stopIds: options.stopIds,
		encode: (prompt) => write(prompt).build(),
		parts: (prompt) => write(prompt).parts,
		parser: (prompt) => new PlainAnswerParser(tokenizer, prompt),
	};
}

/** Parses a template; the function renders it with the variables. Both throw an error of one line. */
function compile(template: string): (variables: Record<string, unknown>) => string {
	const program = limited(() => parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })));
	return (variables) => {
		const environment = new Environment();
		const globals = { true: true, false: false, none: null, True: true, False: false, None: null };
		for (const [name, value] of Object.entries({ ...globals, range, raise_exception: raise, ...variables })) {
			environment.set(name, value);
		}
		return limited(() => {
			const result = new Interpreter(environment).run(program) as { value: unknown };
			return String(result.value);
		});
	};
}

function raise(message: string): never {
	throw new Error(message);
}

/** Jinja's, of a length that fits into memory. */
function range(start: number, stop?: number, step = 1): number[] {
	const [from, to] = typeof stop === 'number' ? [start, stop] : [0, start];
	const length = Math.max(0, Math.ceil((to - from) / step));
	if (!(length <= MAX_RANGE)) throw new Error(`range of ${length} numbers`);
	return Array.from({ length }, (_, i) => from + i * step);
}

const context = vm.createContext({});
const script = new vm.Script('work()');

/** Runs work that is ended after `MAX_TIME`: the time limit of a script holds for all that it calls. */
function limited<T>(work: () => T): T {
	context['work'] = work;
	try {
		return script.runInContext(context, { timeout: MAX_TIME }) as T;
	} catch (error) {
		const { message, code } = error as NodeJS.ErrnoException;
		if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new Error('it takes too long');
		throw new Error(String(message).split('\n')[0]);
	} finally {
		delete context['work'];
	}
}

/** A white space that no template writes, so that a trimmed text can be told from one that is not. */
const GUARD = '\u2003';

interface Placeholder {
	index: number;
	trimmedStart: boolean;
	trimmedEnd: boolean;
}

/** Stand-ins for messages, which no template can know beforehand. */
class Placeholders {
	readonly #nonce = randomBytes(8).toString('hex');

	of(index: number): string {
		return `${GUARD}\uE000${this.#nonce}:${index}\uE001${GUARD}`;
	}

	/** A rendered text as the template's own parts and the messages between them. */
	split(text: string): (string | Placeholder)[] {
		const pattern = new RegExp(`(${GUARD}?)\uE000${this.#nonce}:(\\d+)\uE001(${GUARD}?)`, 'g');
		const parts: (string | Placeholder)[] = [];
		let end = 0;
		for (const match of text.matchAll(pattern)) {
			parts.push(text.slice(end, match.index));
			parts.push({ index: Number(match[2]), trimmedStart: match[1] === '', trimmedEnd: match[3] === '' });
			end = match.index + match[0].length;
		}
		parts.push(text.slice(end));
		return parts;
	}
}

/** `strftime` of a date as YYYY-MM-DD, as far as templates use it. */
function formatDate(format: string, date: string): string {
	const at = new Date(`${date}T00:00:00Z`);
	const name = (options: Intl.DateTimeFormatOptions) => at.toLocaleDateString('en', { timeZone: 'UTC', ...options });
	const [year, month, day] = date.split('-') as [string, string, string];
	const values: Record<string, string> = {
		...{ Y: year, m: month, d: day, y: year.slice(2), H: '00', M: '00', S: '00' },
		...{
			B: name({ month: 'long' }),
			b: name({ month: 'short' }),
			A: name({ weekday: 'long' }),
			a: name({ weekday: 'short' }),
		},
	};
	return String(format).replace(/%-?([A-Za-z])/g, (whole, key: string) => {
		const value = values[key] ?? whole;
		return whole.startsWith('%-') ? value.replace(/^0/, '') : value;
	});
}
