import { describe, expect, it } from 'vitest';
import { Harmony } from '../../engine/harmony/harmony';
import { HarmonyParser, type HarmonyParserOptions } from '../../engine/harmony/parser';
import { trainedVocabulary, vocabularyHeader } from '../../engine/synth/vocabulary';
import { Tokenizer } from '../../engine/tokenizer/tokenizer';

const tokenizer = Tokenizer.fromGguf(vocabularyHeader(trainedVocabulary('analysis commentary final '.repeat(3), 50)));
const harmony = new Harmony(tokenizer);

/** Ids of a transcript; <|names|> are special tokens. */
const ids = (transcript: string) =>
	transcript
		.split(/(<\|\w+\|>)/)
		.flatMap((part) => (/^<\|\w+\|>$/.test(part) ? [tokenizer.specialId(part)] : [...tokenizer.encode(part)]));

interface Parsed {
	analysis?: string;
	commentary?: string;
	final?: string;
	calls?: [name: string, args: string][];
}

function parse(transcript: string, options?: HarmonyParserOptions): Parsed {
	const parser = new HarmonyParser(harmony, options);
	const events = [...ids(transcript).flatMap((id) => parser.push(id)), ...parser.finish()];
	expect(parser.done).toBe(true);
	const parsed: Parsed = {};
	for (const event of events) {
		if (event.kind === 'text') parsed[event.channel] = (parsed[event.channel] ?? '') + event.text;
		else parsed.calls = [...(parsed.calls ?? []), [event.name, event.arguments]];
	}
	return parsed;
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
			const text = new TextDecoder().decode(tokenizer.tokenBytes(id));
			expect(parser.push(id)).toEqual([{ kind: 'text', channel: 'final', text }]);
		}
		expect(parser.done).toBe(false);
		expect(parser.push(tokenizer.specialId('<|return|>'))).toEqual([]);
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

	// The headers of ggml-org/llama.cpp#27720, which a well-formed rest may follow.
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
