// Chat formats from a GGUF's own template (`tokenizer.chat_template`, Jinja). The template is untrusted. It runs within
// a budget, in an interpreter that gives it nothing but its variables. It gets the users' texts in a disguise that it
// cannot notice. So no text of a user, and nothing that the template makes of it, can become a special token.
import { Disguise } from '../jinja/disguise';
import { finish, type Steps } from '../jinja/interpreter';
import { startOfDay, strftime } from '../jinja/strftime';
import { Template } from '../jinja/template';
import { messageOf } from '../quote';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { PLAIN_SAMPLING } from './chat-markup';
import type { ChatFormat, ChatPrompt } from './family';
import { PlainAnswerParser } from './plain-answer';
import { PromptBuilder } from './prompt-builder';

/**
 * The units that a rendering may cost beside its messages (`Budget`). This is twenty times what published templates
 * need for a short conversation. Loading a model renders the template about ten times.
 */
const UNITS = 100_000;
/** Units for each message. Published templates need up to 1200. */
const UNITS_A_MESSAGE = 2000;
/**
 * Units for each pair of messages. Some templates look at all other messages for each message, which takes 20 units a
 * pair, or 60 if they compare them. The limit on all pairs together bounds the time.
 */
const UNITS_A_PAIR = 100;
const MAX_UNITS_OF_PAIRS = 40_000_000;
/** Units for each character. Published templates need up to 3, and changing each character takes another 4. */
const UNITS_A_CHARACTER = 12;
/** Units for each character within one step, such as a single expression, which nothing can interrupt. */
const UNITS_A_CHARACTER_AND_STEP = 5;
/** How many characters a template may write beside the messages' texts: once, and for each message. */
const MAX_OUTPUT = 65_536;
const MAX_OUTPUT_A_MESSAGE = 4096;
/** How often a template may repeat the messages' texts. */
const MAX_REPETITION = 8;

/**
 * So many characters of a rendered text are taken out of their disguise before others have their turn. They take some
 * milliseconds.
 */
const STEP_CHARACTERS = 65_536;

interface Message {
	role: 'system' | 'user' | 'assistant';
	content: string;
}

export interface TemplateOptions {
	stopIds: ReadonlySet<number>;
	/** The names of the tokens that begin and end a text. Templates write them by themselves. */
	bosToken: string;
	eosToken: string;
	sampling?: ChatFormat['sampling'];
}

/**
 * Makes a chat format of a template.
 * @throws an error that says what is wrong with the template: it does not parse, fails on a plain conversation, takes
 * too long, writes too much, or leaves the user's message out.
 */
export function templateChatFormat(source: string, tokenizer: Tokenizer, options: TemplateOptions): ChatFormat {
	const writer = new ConversationWriter(source, tokenizer, options);
	if (!writer.shows(CONVERSATION, CONVERSATION.length - 1)) throw new Error("it leaves the user's message out");
	const takesSystem = attempt(() => writer.shows([{ role: 'system', content: '' }, ...CONVERSATION], 0));

	function* written(prompt: ChatPrompt): Steps<PromptBuilder> {
		try {
			return yield* writer.write(messagesOf(prompt, takesSystem), prompt);
		} catch (error) {
			throw new Error(`the chat template in the model's file fails on this conversation: ${messageOf(error)}`);
		}
	}

	return {
		name: 'its own template',
		sampling: options.sampling ?? PLAIN_SAMPLING,
		stopIds: options.stopIds,
		encode: (prompt) => finish(written(prompt)).build(),
		parts: async (prompt) => {
			const steps = written(prompt);
			let step = steps.next();
			for (; !step.done; step = steps.next()) await new Promise((resolve) => setImmediate(resolve));
			return step.value.parts;
		},
		parser: (prompt) => new PlainAnswerParser(tokenizer, prompt),
	};
}

/**
 * The messages of a prompt. The instructions become a system message. If the template takes none, the user's first
 * message begins with them.
 */
function messagesOf({ instructions, turns }: ChatPrompt, takesSystem: boolean): readonly Message[] {
	if (!instructions) return turns;
	if (takesSystem) return [{ role: 'system', content: instructions }, ...turns];
	// The publishers of such models advise to begin the first message with the instructions.
	const first = turns.findIndex(({ role }) => role === 'user');
	return turns.map((turn, i) => (i === first ? { ...turn, content: `${instructions}\n\n${turn.content}` } : turn));
}

/** Writes conversations as prompts by a template. */
class ConversationWriter {
	readonly #source: string;
	readonly #template: Template;
	readonly #tokenizer: Tokenizer;
	readonly #options: TemplateOptions;

	constructor(source: string, tokenizer: Tokenizer, options: TemplateOptions) {
		this.#source = source;
		this.#template = new Template(source);
		this.#tokenizer = tokenizer;
		this.#options = options;
	}

	/** The prompt of a conversation. It is made in steps of some milliseconds. */
	*write(messages: readonly Message[], prompt: ChatPrompt): Steps<PromptBuilder> {
		const { text, disguise } = yield* this.#render(messages, prompt);
		yield;
		const { bosId } = this.#tokenizer;
		const pieces = this.#tokenizer.splitSpecials(text);
		const builder = new PromptBuilder(this.#tokenizer);
		if (bosId !== undefined && !beginsWith(bosId, pieces, disguise)) builder.special(bosId);
		yield;
		let revealed = 0;
		for (const piece of pieces) {
			if (typeof piece === 'number') {
				builder.special(piece);
				continue;
			}
			for (let at = 0; at < piece.length; at += STEP_CHARACTERS) {
				const part = piece.slice(at, at + STEP_CHARACTERS);
				builder.text(disguise.reveal(part));
				revealed += part.length;
				if (revealed < STEP_CHARACTERS) continue;
				revealed = 0;
				yield;
			}
		}
		return builder;
	}

	/** Whether the rendered text depends on the text of a message. */
	shows(messages: readonly Message[], index: number): boolean {
		const shown = (content: string) => {
			const changed = messages.map((message, i) => (i === index ? { ...message, content } : message));
			const { text, disguise } = finish(this.#render(changed, PROBE));
			return disguise.reveal(text);
		};
		return shown('Which way?') !== shown('Tell me more.');
	}

	/**
	 * Renders messages in steps of some milliseconds. The messages' texts are in the disguise that is returned with the
	 * result.
	 */
	*#render(
		messages: readonly Message[],
		{ currentDate, reasoningEffort }: ChatPrompt,
	): Steps<{ text: string; disguise: Disguise }> {
		const contents = messages.map(({ content }) => content);
		const disguise = Disguise.of(this.#tokenizer.vocabulary.specialNames(), [this.#source, ...contents]);
		if (!disguise) throw new Error('the messages use all of the private use area of Unicode');
		const characters = contents.reduce((sum, { length }) => sum + length, 0);
		const now = startOfDay(currentDate);
		const text = yield* this.#template.renderInSteps(
			{
				messages: messages.map(({ role, content }) => ({ role, content: disguise.hide(content) })),
				add_generation_prompt: true,
				bos_token: this.#options.bosToken,
				eos_token: this.#options.eosToken,
				tools: null,
				documents: null,
				// Qwen 3's template switches reasoning by this. Other templates ignore it.
				enable_thinking: reasoningEffort !== 'low',
				reasoning_effort: reasoningEffort,
				date_string: strftime('%d %b %Y', now),
			},
			{
				units: unitsFor(messages.length, characters),
				unitsOfTexts: UNITS_A_CHARACTER_AND_STEP * characters,
				now,
				disguise,
			},
		);
		if (text.length > MAX_OUTPUT + MAX_OUTPUT_A_MESSAGE * messages.length + MAX_REPETITION * characters) {
			throw new Error('it writes too much');
		}
		return { text, disguise };
	}
}

function unitsFor(messages: number, characters: number): number {
	const pairs = Math.min(UNITS_A_PAIR * messages ** 2, MAX_UNITS_OF_PAIRS);
	return UNITS + UNITS_A_MESSAGE * messages + pairs + UNITS_A_CHARACTER * characters;
}

/** The conversation that every template has to render. */
const CONVERSATION: readonly Message[] = [
	{ role: 'user', content: 'Where is it?' },
	{ role: 'assistant', content: 'Over there.' },
	{ role: 'user', content: 'Which way?' },
];
const PROBE: ChatPrompt = { currentDate: '2026-01-01', reasoningEffort: 'medium', turns: [] };

function attempt(test: () => boolean): boolean {
	try {
		return test();
	} catch {
		return false;
	}
}

/** Whether a template has written this token before all other tokens and before the first message. */
function beginsWith(id: number, pieces: readonly (number | string)[], disguise: Disguise): boolean {
	for (const piece of pieces) {
		if (typeof piece === 'number') return piece === id;
		if (disguise.reveal(piece) !== piece) return false;
	}
	return false;
}
