import { describe, expect, it } from 'vitest';
import type { AnswerEvent } from '../../engine/families/family';
import { Harmony } from '../../engine/families/harmony/harmony';
import { HarmonyParser, type HarmonyParserOptions } from '../../engine/families/harmony/parser';
import { trainedVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';

const tokenizer = Tokenizer.fromGguf(vocabularyHeader(trainedVocabulary('analysis commentary final '.repeat(3), 50)));
const harmony = new Harmony(tokenizer);

/** The ids of a transcript in which <|names|> are special tokens. */
const ids = (transcript: string) =>
	transcript
		.split(/(<\|\w+\|>)/)
		.flatMap((part) =>
			/^<\|\w+\|>$/.test(part) ? [tokenizer.vocabulary.specialId(part)] : [...tokenizer.encode(part)],
		);

/** The token of each single byte. */
const byteIds = new Map<number, number>();
for (let id = 0; id < tokenizer.vocabulary.size; id++) {
	const bytes = tokenizer.vocabulary.tokenBytes(id);
	if (bytes.length === 1 && !tokenizer.vocabulary.isSpecial(id)) byteIds.set(bytes[0]!, id);
}

interface Parsed {
	analysis?: string;
	commentary?: string;
	final?: string;
	calls?: [name: string, args: string][];
}

function parse(transcript: string, options?: HarmonyParserOptions): Parsed {
	return read(ids(transcript), options).parsed;
}

/** Reads tokens as a consumer does, which stops when the parser says that the answer is complete. */
function read(tokens: Iterable<number>, options?: HarmonyParserOptions): { parsed: Parsed; taken: number } {
	const parser = new HarmonyParser(harmony, options);
	const events: AnswerEvent[] = [];
	let taken = 0;
	for (const id of tokens) {
		if (parser.complete) break;
		events.push(...parser.push(id));
		taken++;
	}
	events.push(...parser.finish());
	expect(parser.done).toBe(true);
	const parsed: Parsed = {};
	for (const event of events) {
		if (event.kind === 'text') {
			if (event.moved) {
				const at = parsed.analysis?.lastIndexOf(event.text) ?? -1;
				expect(at).toBeGreaterThanOrEqual(0);
				parsed.analysis = parsed.analysis!.slice(0, at) + parsed.analysis!.slice(at + event.text.length);
				if (parsed.analysis === '') delete parsed.analysis;
			}
			parsed[event.channel] = (parsed[event.channel] ?? '') + event.text;
		} else parsed.calls = [...(parsed.calls ?? []), [event.name, event.arguments]];
	}
	return { parsed, taken };
}

describe('a well-formed turn', () => {
	it('is split into its channels', () => {
		expect(
			parse('<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>'),
		).toEqual({ analysis: 'Hm.', final: 'Yes.' });
	});

	it('streams each token as it comes', () => {
		const parser = new HarmonyParser(harmony);
		for (const id of ids('<|channel|>final<|message|>')) expect(parser.push(id)).toEqual([]);
		for (const id of ids('one two')) {
			const text = new TextDecoder().decode(tokenizer.vocabulary.tokenBytes(id));
			expect(parser.push(id)).toEqual([{ kind: 'text', channel: 'final', text }]);
		}
		expect(parser.done).toBe(false);
		expect(parser.push(tokenizer.vocabulary.specialId('<|return|>'))).toEqual([]);
		expect(parser.done).toBe(true);
		expect(parser.push(65)).toEqual([]);
		expect(parser.finish()).toEqual([]);
	});

	it('holds back an unfinished character', () => {
		const parser = new HarmonyParser(harmony, { opened: 'final' });
		const texts = ids('a🙂b').flatMap((id) => parser.push(id).map((event) => event.kind === 'text' && event.text));
		expect(texts).toEqual(['a', '🙂', 'b']);
		const [first] = ids('🙂');
		parser.push(first!);
		expect(parser.finish()).toEqual([{ kind: 'text', channel: 'final', text: '\ufffd' }]);
	});

	it('may have been opened by the prompt', () => {
		expect(parse('let x;<|return|>', { opened: 'final' })).toEqual({ final: 'let x;' });
		expect(parse('let x;', { opened: 'final' })).toEqual({ final: 'let x;' });
	});

	it.each([
		' to=functions.run<|channel|>commentary json<|message|>{"a":1}<|call|>',
		'<|channel|>commentary to=functions.run <|constrain|>json<|message|>{"a":1}<|call|>',
		'<|channel|>commentary to=functions.run<|constrain|>json<|message|>{"a":1}<|call|>',
		'<|channel|>commentary to=functions.runjson<|message|>{"a":1}<|call|>',
		'<|channel|>commentary to=run json<|message|>{"a":1}<|end|>',
		'<|channel|>analysis to=functions.run code<|message|>{"a":1}<|call|>',
	])('calls a tool: %s', (transcript) => {
		expect(parse(transcript, { toolNames: ['run'] })).toEqual({ calls: [['run', '{"a":1}']] });
	});

	it('reasons, comments, then calls', () => {
		expect(
			parse(
				'<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>commentary<|message|>I search.<|end|>' +
					'<|start|>assistant<|channel|>commentary to=functions.web-search <|constrain|>json<|message|>{}<|call|>',
			),
		).toEqual({ analysis: 'Look.', commentary: 'I search.', calls: [['web-search', '{}']] });
	});

	it('drops a call that was cut off', () => {
		expect(parse('<|channel|>commentary to=functions.run json<|message|>{"a"')).toEqual({});
	});
});

describe('a malformed turn', () => {
	const good =
		'<|end|><|start|>assistant<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>';
	const answer = { analysis: 'Hm.', final: 'Yes.' };

	// These are the headers of ggml-org/llama.cpp#27720. A well-formed rest may follow them.
	it.each([
		'??',
		'commentary 2?',
		'commentary?commentary?',
		'commentary to=assistant<|channel|>commentary?',
		'We need to',
	])('survives the header %s', (header) => {
		expect(parse(`<|channel|>${header}${good}`)).toEqual(answer);
	});

	it('survives doubled and stray markers', () => {
		expect(parse(`<|start|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>`)).toEqual({ final: 'Yes.' });
		expect(parse(`<|channel|><|channel|>final<|message|><|message|>Yes.<|return|>`)).toEqual({ final: 'Yes.' });
		expect(parse(`<|channel|>analysis<|message|>Hm.<|end|> 364 ${good}`)).toEqual({
			analysis: 'Hm.Hm.',
			final: 'Yes.',
		});
		expect(parse('<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>Yes.<|return|>')).toEqual(answer);
		expect(parse('<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final<|message|>Yes.')).toEqual(answer);
	});

	it('takes a message without channel for the answer', () => {
		expect(parse('Yes.<|return|>')).toEqual({ final: 'Yes.' });
		expect(parse('<|message|>Yes.<|return|>')).toEqual({ final: 'Yes.' });
		expect(parse('<|channel|><|message|>Yes.<|return|>')).toEqual({ final: 'Yes.' });
		expect(parse('<|channel|>fnial<|message|>Yes.<|return|>')).toEqual({ final: 'Yes.' });
		expect(parse('<|channel|>analysis<|message|>Hm.<|end|>Yes.<|return|>')).toEqual(answer);
	});

	it('takes a header without message for the answer if there is no other', () => {
		expect(parse('<|channel|>final Yes.<|return|>')).toEqual({ final: 'Yes.' });
		expect(parse('<|channel|>final??<|return|>')).toEqual({});
	});

	it('streams an answer whose markers are missing', () => {
		const long = 'All of this is the answer. '.repeat(20);
		const parser = new HarmonyParser(harmony);
		const streamed = ids(long).flatMap((id) => parser.push(id));
		expect(streamed.length).toBeGreaterThan(10);
		expect(parse(`${long}<|return|>`)).toEqual({ final: long });
		expect(parse(`<|channel|>analysis ${long}<|return|>`)).toEqual({ analysis: long });
	});

	it('shows nothing of a header that was cut off', () => {
		for (const header of ['', '<|channel|>', '<|channel|>comment', '<|channel|>analysis', ' to=functions.x']) {
			expect(parse(header)).toEqual({});
		}
	});

	it('ignores special tokens of no meaning', () => {
		expect(parse('<|channel|>final<|message|>Ye<|startoftext|>s<|constrain|>.<|return|>')).toEqual({ final: 'Yes.' });
	});

	it('ends in one piece whatever comes', () => {
		const pool = [
			...ids('<|start|><|end|><|message|><|channel|><|constrain|><|startoftext|>'),
			...ids('final to=x ??'),
		];
		let state = 3;
		for (let round = 0; round < 2000; round++) {
			const parser = new HarmonyParser(harmony);
			for (let i = 0; i < 30; i++) {
				state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
				parser.push(pool[(state >>> 8) % pool.length]!);
			}
			parser.finish();
			expect(parser.done).toBe(true);
		}
	});
});

const real = '<|start|>assistant<|channel|>final<|message|>Real answer.';
const made = '<|start|>user<|message|>Made up.<|end|>';
const long = 'I think about what they may want, step by step. '.repeat(12);

describe('only what says final is the answer and ends the turn', () => {
	it.each([
		// These channels do not exist. They come before the answer.
		[`<|channel|>thought<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>fnial<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>Final<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>finally<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>not final<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>final thoughts<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>commentary 2?<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|>analysis??<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|channel|><|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[` <|message|>Hm.<|end|><|start|>assistant<|message|>Hm!<|end|>${real}<|return|>`, { analysis: 'Hm.Hm!' }],
		[`<|channel|>thought<|message|>Hm.<|start|>assistant<|channel|>final<|message|>Real answer.`, { analysis: 'Hm.' }],
		[`<|channel|>thought<|message|>Hm.<|channel|>final<|message|>Real answer.<|end|>`, { analysis: 'Hm.' }],
		[`<|channel|>thought<|message|>${long}<|end|>${real}<|return|>`, { analysis: long }],
		[`${long}<|end|>${real}<|return|>`, { analysis: long }],
		[`<|channel|>final ${long}<|end|>${real}<|return|>`, { analysis: long }],
		[`<|channel|>commentary<|message|>Look.<|end|>${real}<|end|>`, { commentary: 'Look.' }],
		[`<|start|>asistant<|channel|>final<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		[`<|start|>asistant<|channel|>commentary<|message|>Hm.<|end|>${real}<|return|>`, { analysis: 'Hm.' }],
		// These messages are written in the name of somebody else.
		[`<|end|>${made}${real}<|return|>`, {}],
		[`<|end|><|start|>user<|channel|>final<|message|>No.<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>User<|channel|>final<|message|>No.<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>user:ann<|channel|>final<|message|>No.<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>system<|message|>${long}<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>developer<|message|>No.<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>tool<|channel|>final<|message|>No.<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>functions.run to=assistant<|channel|>commentary<|message|>{}<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>run to=assistant<|channel|>final<|message|>{}<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>python<|channel|>final<|message|>4<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>user<|message|>No.<|channel|>final<|message|>No!<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>user No, ${long}<|end|>${real}<|return|>`, {}],
		[`<|end|><|start|>user No.<|end|>${real}<|return|>`, {}],
		// These call a tool although there is none.
		[` to=functions.x<|channel|>commentary json<|message|>{}<|end|>${real}<|return|>`, { calls: [['x', '{}']] }],
		[`<|channel|>final to=functions.x<|message|>{}<|end|>${real}<|return|>`, { calls: [['x', '{}']] }],
		[`<|channel|>commentary functions.x<|message|>{}<|end|>${real}<|return|>`, { calls: [['x', '{}']] }],
		[
			`<|channel|>commentary <|constrain|>json to=functions.x<|message|>{}<|end|>${real}<|return|>`,
			{ calls: [['x', '{}']] },
		],
		// These say "final" in another way than usual.
		[`<|channel|>thought<|message|>Hm.<|end|><|channel|> final <|message|>Real answer.`, { analysis: 'Hm.' }],
		[`<|channel|>final <|constrain|>json<|message|>Real answer.<|end|>`, {}],
		[`<|channel|>final json<|message|>Real answer.<|end|>`, {}],
		[`<|channel|>final to=user<|message|>Real answer.<|end|>`, {}],
		[` to=user<|channel|>final<|message|>Real answer.<|end|>`, {}],
		[` to=all<|channel|>final<|message|>Real answer.<|end|>`, {}],
		[`<|start|>assistant:bot<|channel|>final<|message|>Real answer.<|end|>`, {}],
		[`assistant<|channel|>final<|message|>Real answer.<|end|>`, {}],
		[`<|channel|>analysis<|channel|>final<|message|>Real answer.<|end|>`, {}],
		[`<|channel|>final<|message|><|end|>${real}<|end|>`, {}],
		[`<|channel|>final<|message|>Real answer.<|end|>${real}<|return|>`, {}],
		[`<|channel|>final<|message|>Real answer.<|end|>${made}${made}<|return|>`, {}],
		[`<|channel|>final<|message|>Real answer.${made}<|return|>`, {}],
		[`<|channel|>final<|message|>Real answer.<|channel|>final<|message|>Again.<|return|>`, {}],
	])('%s', (transcript, rest) => {
		const whole = ids(transcript);
		const { parsed, taken } = read(whole);
		expect(parsed.final?.trim()).toBe('Real answer.');
		expect({ ...parsed, final: undefined }).toEqual({ final: undefined, ...rest });
		// A consumer that never asks whether the answer is complete gets the same.
		const parser = new HarmonyParser(harmony);
		const events = [...whole.flatMap((id) => parser.push(id)), ...parser.finish()];
		const final = events.flatMap((event) => (event.kind === 'text' && event.channel === 'final' ? [event.text] : []));
		expect(final.join('')).toBe(parsed.final);
		expect(taken).toBeLessThanOrEqual(whole.length);
	});

	it.each([
		['<|channel|>thought<|message|>Hm.<|end|>', false],
		['<|message|>Hm.<|end|>', false],
		['<|end|><|start|>user<|channel|>final<|message|>Hm.<|end|>', false],
		['<|channel|>final<|message|><|end|>', false],
		['<|channel|>final<|message|> \n<|end|>', false],
		['<|channel|>final<|message|>Yes.', false],
		['<|channel|>final<|message|>Yes.<|end|>', true],
		['<|channel|>final<|message|>Yes.<|start|>', true],
		['<|channel|>analysis<|message|>Yes.<|end|>', false],
		['<|channel|>commentary<|message|>Yes.<|end|>', false],
	])('%s completes the answer: %s', (transcript, complete) => {
		const parser = new HarmonyParser(harmony);
		for (const id of ids(transcript)) parser.push(id);
		expect(parser.complete).toBe(complete);
	});
});

describe('a turn that ends without an answer', () => {
	it.each([
		['<|channel|>thought<|message|>Four.<|return|>', { final: 'Four.' }],
		[`<|channel|>thought<|message|>${long}<|return|>`, { final: long }],
		['<|message|>One.<|end|><|start|>assistant<|message|>Four.<|return|>', { analysis: 'One.', final: 'Four.' }],
		['<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|message|>Four.', { analysis: 'Hm.', final: 'Four.' }],
		['<|start|>asistant<|channel|>final<|message|>Four.<|return|>', { final: 'Four.' }],
		['<|start|>Four.<|return|>', { final: 'Four.' }],
		['User input is data.<|return|>', { final: 'User input is data.' }],
		['<|message|> \n<|end|><|start|>assistant Four.<|end|>', { final: 'Four.' }],
		// Nothing in these is for the user.
		['<|channel|>analysis<|message|>Hm.<|return|>', { analysis: 'Hm.' }],
		['<|channel|>analysis??<|message|>Hm.<|return|>', { analysis: 'Hm.' }],
		['<|channel|>commentary<|message|>Look.<|return|>', { commentary: 'Look.' }],
		[' to=functions.x<|channel|>commentary<|message|>{}<|call|>', { calls: [['x', '{}']] }],
		[`<|end|>${made}<|return|>`, {}],
		['<|return|>', {}],
		['<|start|>assis', {}],
		['<|start|>us', {}],
		['<|channel|>commentary to', {}],
		['<|channel|>commentary to=', {}],
		['<|channel|>commentary to=functions.x <|constrain|>js', {}],
		['<|channel|>commentary to=functions.x js', {}],
	])('%s', (transcript, expected) => {
		expect(parse(transcript)).toEqual(expected);
	});
});

it('reads the same text the same way, however it is cut into tokens', () => {
	const pieces = [
		...[
			'<|start|>',
			'<|end|>',
			'<|message|>',
			'<|channel|>',
			'<|constrain|>',
			'assistant',
			'user',
			' final ',
			'analysis',
		],
		...[
			'commentary',
			'to=functions.run',
			' json',
			'thought',
			'Hm, é🙂. ',
			'??',
			' to=assistant',
			'\n',
			long.slice(0, 250),
			long,
		],
	];
	let state = 7;
	const random = (below: number) => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return (state >>> 8) % below;
	};
	const bytes = (text: string) => [...Buffer.from(text)].map((byte) => byteIds.get(byte)!);
	const special = /^<\|\w+\|>$/;
	for (let round = 0; round < 1500; round++) {
		const parts = Array.from({ length: 1 + random(12) }, () => pieces[random(pieces.length)]!);
		const cut = parts.flatMap((part) => (special.test(part) ? [tokenizer.vocabulary.specialId(part)] : bytes(part)));
		const plain = read(ids(parts.join(''))).parsed;
		expect(read(cut).parsed, parts.join('')).toEqual(plain);
	}
});
