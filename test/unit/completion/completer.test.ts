import { describe, expect, test } from 'vitest';
import { Completer, type CompletionRequest, warmUp } from '../../../engine/completion/completer';
import { TokenPrefixIndex } from '../../../engine/completion/token-healing';
import type { Stage } from '../../../engine/completion/trace';
import type { EngineSettings } from '../../../engine/protocol';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import type { StepBatch } from '../../../native/index';
import { completes, decodeText, fakeOpenedModel, harmony, tokenizer } from '../support/fake-opened-model';

const index = new TokenPrefixIndex(tokenizer.vocabulary);
const settings: EngineSettings['completion'] = {
	...DEFAULT_SETTINGS.completion,
	maxTokens: 200,
	multiline: 'auto',
	prefixTokens: 1000,
	suffixTokens: 200,
	relatedTokens: 0,
};

const TARGET = `function add(first, second) {
    return first + second;
}

function total(values) {
    return values.reduce(add, 0);
}
`;

function setUp(target = TARGET, options: Parameters<typeof fakeOpenedModel>[1] = {}) {
	const model = fakeOpenedModel(completes(target), options);
	const completer = new Completer(model, index);
	/** Completes a file. The text shows the cursor as ‸. */
	const complete = (text: string, more: Partial<CompletionRequest> = {}) => {
		const [before = '', after = ''] = text.split('‸');
		return completer.complete({
			document: 'file:///add.js',
			label: 'src/add.js',
			languageId: 'javascript',
			before,
			after,
			invoked: false,
			settings,
			signal: new AbortController().signal,
			...more,
		});
	};
	return { model, completer, complete };
}

const shown = (text: string, replace = 0) => expect.objectContaining({ outcome: 'shown', edit: { text, replace } });

describe('Completer', () => {
	test('completes the line at the cursor', async () => {
		const { complete } = setUp();
		expect(await complete('function add(first, second) {\n    return first + sec‸')).toEqual(shown('ond;'));
	});

	test('completes a block, up to the line that closes it', async () => {
		const { complete } = setUp();
		expect(await complete('function add(first, second) {‸')).toEqual(shown('\n    return first + second;\n}'));
	});

	test('covers a closing brace the editor has put right of the cursor', async () => {
		const { complete } = setUp();
		expect(await complete('function add(first, second) {‸}')).toEqual(shown('\n    return first + second;\n}', 1));
	});

	test('does not close again what the next line closes', async () => {
		const { complete } = setUp();
		expect(await complete('function add(first, second) {‸\n}\n')).toEqual(shown('\n    return first + second;'));
	});

	test('heals the token at the cursor wherever it is', async () => {
		const line = '    return first + second;';
		for (let end = 1; end < line.length; end++) {
			const { complete } = setUp();
			const result = await complete(`function add(first, second) {\n${line.slice(0, end)}‸`, {
				settings: { ...settings, multiline: 'never' },
			});
			expect(result).toEqual(shown(line.slice(end)));
		}
	});

	test('shows the model the file name, the text after the cursor and, in its own turn, the text before it', async () => {
		const { model, complete } = setUp();
		await complete('function add(first, second) {\n‸\n}\nexport default add;\n');
		const prompt = decodeText(tokensRun(model));
		expect(prompt).toContain('File: src/add.js\nLanguage: javascript\n');
		expect(prompt).toContain('The text that follows the cursor:\n}\nexport default add;\n<|end|>');
		expect(prompt).toContain('<|start|>assistant<|channel|>final<|message|>function add(first, second)');
	});

	test('text of a file never becomes a special token', async () => {
		const { model, complete } = setUp();
		await complete("const end = '<|end|>';\n‸\n<|start|>system");
		const ends = tokensRun(model).filter((token) => token === harmony.tokens.end);
		expect(ends.length).toBe(3); // the ends of the system, developer and user message
	});

	test('a keystroke costs its own tokens only', async () => {
		const { model, complete } = setUp('never mind');
		const file = `${TARGET}const sum = `;
		await complete(`${file}‸\nlast line`);
		const rows = model.native.rowsRun;
		const result = await complete(`${file}add‸\nlast line`);
		expect(result.report.promptTokens).toBeGreaterThan(200);
		expect(result.report.cachedTokens).toBeGreaterThanOrEqual(result.report.promptTokens - 3);
		expect(model.native.rowsRun - rows).toBeLessThan(10);
	});

	test('typing along a suggestion, even with brackets closing themselves, never asks the model', async () => {
		const { model, complete } = setUp();
		await complete('function‸');
		const batches = model.native.batches.length;
		expect(await complete('function add(‸)')).toEqual(shown('first, second) {', 1));
		expect(await complete('function add(first‸)')).toEqual(shown(', second) {', 1));
		expect(model.native.batches.length).toBe(batches);
		expect((await complete('function add(first!‸)')).outcome).toBe('empty');
		expect(model.native.batches.length).toBeGreaterThan(batches);
	});

	test('a request in flight serves the next keystroke where it agrees with what is being written', async () => {
		const gate = new StepGate(3);
		const { model, complete } = setUp(TARGET, { onStep: gate.onStep });
		const controller = new AbortController();
		const first = complete('function add(first, second) {\n    ret‸', { signal: controller.signal });
		await gate.reached;
		controller.abort();
		const second = complete('function add(first, second) {\n    retu‸');
		expect((await first).outcome).toBe('canceled');
		const prompts = countPrompts(model);
		gate.open();
		expect(await second).toEqual(shown('rn first + second;'));
		expect(countPrompts(model)).toBe(prompts);
	});

	test('a request in flight is cancelled by a keystroke that disagrees', async () => {
		const gate = new StepGate(3);
		const { model, complete } = setUp(TARGET, { onStep: gate.onStep });
		const first = complete('function add(first, second) {\n    ret‸');
		await gate.reached;
		const second = complete('function add(first, second) {\n    rex‸');
		expect((await first).outcome).toBe('canceled');
		gate.open();
		expect((await second).outcome).toBe('empty');
		expect(model.engine.busy).toBe(false);
	});

	test('a run that nobody waits for ends', async () => {
		const { model, complete } = setUp(`x${' + 1'.repeat(2000)}`, { onStep: () => tick(5) });
		const controller = new AbortController();
		const request = complete('x‸', { signal: controller.signal, settings: { ...settings, maxTokens: 3000 } });
		while (model.native.batches.length < 3) await tick();
		controller.abort();
		expect((await request).outcome).toBe('canceled');
		while (model.engine.busy) await tick(10);
		expect(model.native.rowsRun).toBeLessThan(2000);
	});

	test('says why there is nothing to show', async () => {
		const { complete } = setUp('foo(a)');
		expect(await complete('foo(a‸)')).toMatchObject({
			outcome: 'empty',
			reason: 'the suggestion only repeated the text after the cursor',
			report: { outcome: 'empty', generatedTokens: expect.any(Number) },
		});
		expect(await complete('something else‸')).toMatchObject({ reason: 'the model had nothing to add here' });
	});

	test('tells what each stage made of a suggestion', async () => {
		const { complete } = setUp('foo(a);\nfoo(b);\n');
		const stages: Stage[] = [];
		await complete('foo(‸a);\nfoo(b);\n', { trace: (stage) => stages.push(stage) });
		expect(stages).toEqual([
			{ name: 'model', text: expect.stringMatching(/^a\);\n/) },
			{ name: 'stop rule: one line', text: 'a);' },
			{ name: 'filter: suffix overlap', text: '' },
		]);
	});

	test('a cancelled request does not reach the model', async () => {
		const { model, complete } = setUp();
		expect((await complete('x‸', { signal: AbortSignal.abort() })).outcome).toBe('canceled');
		expect(model.native.batches).toEqual([]);
	});

	test('a failure is a result, and the next request works', async () => {
		let fail = true;
		const { complete } = setUp(TARGET, {
			onStep: () => {
				if (fail) throw new Error('out of memory');
			},
		});
		expect(await complete('function add(‸')).toMatchObject({ outcome: 'failed', reason: 'out of memory' });
		fail = false;
		expect((await complete('function add(‸')).outcome).toBe('shown');
	});

	test('where tokens run out, an unfinished last line is left out', async () => {
		const texts = new Set<string>();
		for (let maxTokens = 1; maxTokens < 20; maxTokens++) {
			const { complete } = setUp();
			const result = await complete('function add(first, second) {‸', { settings: { ...settings, maxTokens } });
			texts.add(result.outcome === 'shown' ? result.edit.text : '');
		}
		expect([...texts]).toEqual(['', '\n    return first + second;', '\n    return first + second;\n}']);
	});

	test('asked for by a command, it may go over lines anywhere', async () => {
		const { complete } = setUp('call(\n  1,\n);\n');
		expect(await complete('ca‸')).toEqual(shown('ll('));
		expect(await complete('ca‸', { invoked: true })).toEqual(shown('ll(\n  1,\n);'));
	});

	test('keeps the line ends of the file', async () => {
		const { complete } = setUp();
		expect(await complete('function add(first, second) {‸\r\n')).toEqual(shown('\r\n    return first + second;\r\n}'));
	});

	test('a window too large for the context is made smaller', async () => {
		const { complete } = setUp('never mind', { contextTokens: 1400, cacheTokens: 1400 });
		const result = await complete(`${'const a = add(1, 2);\n'.repeat(300)}‸\n${'x = 1;\n'.repeat(200)}`);
		expect(result.outcome).toBe('empty');
		expect(result.report.promptTokens).toBeGreaterThan(700);
		expect(result.report.promptTokens).toBeLessThanOrEqual(1400 - settings.maxTokens);
	});

	test.each([
		['the other files', { related: [{ label: 'b.js', text: 'other' }] }],
		['the name', { label: 'src/other.js' }],
		['the language', { languageId: 'typescript' }],
		['how the editor indents', { formatting: { tabSize: 8, insertSpaces: true } }],
		['the tokens of an answer', { settings: { ...settings, maxTokens: 199 } }],
		['the budget before the cursor', { settings: { ...settings, prefixTokens: 999 } }],
		['the budget after it', { settings: { ...settings, suffixTokens: 199 } }],
		['the budget of other files', { settings: { ...settings, relatedTokens: 1 } }],
		['whether it may go over lines', { settings: { ...settings, multiline: 'never' as const } }],
	])('a suggestion made with another value of %s is not given', async (_, more) => {
		const { model, complete } = setUp();
		const prompts = () => model.native.batches.filter(({ outputs }) => outputs.length > 0).length;
		const place = 'function add(first, second) {\n    return ‸';
		await complete(place);
		const before = prompts();
		await complete(place);
		expect(prompts()).toBe(before);
		await complete(place, more);
		expect(prompts()).toBeGreaterThan(before);
	});

	test('a request in flight does not serve one that is shown other files', async () => {
		const gate = new StepGate(3);
		const { complete } = setUp(TARGET, { onStep: gate.onStep });
		const place = 'function add(first, second) {\n    ret‸';
		const first = complete(place, { related: [{ label: 'b.js', text: 'one' }] });
		await gate.reached;
		const second = complete(place, { related: [{ label: 'b.js', text: 'two' }] });
		expect((await first).outcome).toBe('canceled');
		gate.open();
		expect(await second).toEqual(shown('urn first + second;'));
	});

	test('a long rest of the line is cut for the prompt, and not said again', async () => {
		const rest = Array.from({ length: 3000 }, (_, i) => `{"id":${i}}`).join(',');
		const { complete } = setUp(`[{"id":-1},${rest}]`);
		const result = await complete(`[‸${rest}]`, { languageId: 'json' });
		expect(result).toEqual(shown('{"id":-1},'));
		expect(result.report.promptTokens).toBeLessThan(2000);
		expect(result.report.generatedTokens).toBeLessThan(120);
	});

	test.each(['\r\n', '\r'])('keeps line ends of %j in what it is given and what it gives', async (lineEnd) => {
		const { complete } = setUp();
		expect(await complete(`function add(first, second) {‸${lineEnd}`)).toEqual(
			shown(`${lineEnd}    return first + second;${lineEnd}}`),
		);
		expect(await complete(`function add(first, second) {${lineEnd}    return first‸${lineEnd}}${lineEnd}`)).toEqual(
			shown(' + second;'),
		);
	});

	test('without a budget for what follows it still says nothing of it again', async () => {
		const { complete } = setUp();
		const none = { ...settings, suffixTokens: 0, prefixTokens: 16 };
		expect(await complete('function add(first, second) {‸\n}\n', { settings: none })).toEqual(
			shown('\n    return first + second;'),
		);
	});

	test('the warm-up computes what all prompts share', async () => {
		const { model, complete } = setUp();
		await warmUp(model, new AbortController().signal);
		const warmed = model.native.rowsRun;
		const { report } = await complete('function ‸');
		expect(report.cachedTokens).toBeGreaterThan(warmed - 5);
	});
});

/** The tokens of all steps in order. */
function tokensRun(model: ReturnType<typeof fakeOpenedModel>): number[] {
	return model.native.batches.flatMap((batch) => [...batch.tokens]);
}

/** How many steps ran several rows. Only prompts take such steps, and each prompt of these tests takes one. */
function countPrompts(model: ReturnType<typeof fakeOpenedModel>): number {
	return model.native.batches.filter((batch) => batch.tokens.length > 1).length;
}

/** Holds back the model's `count`th decode step until it is opened. */
class StepGate {
	open = () => {};
	readonly reached: Promise<void>;
	readonly onStep: (batch: StepBatch) => Promise<void> | void;

	constructor(count: number) {
		const opened = new Promise<void>((resolve) => {
			this.open = resolve;
		});
		let steps = 0;
		let reach = () => {};
		this.reached = new Promise((resolve) => {
			reach = resolve;
		});
		this.onStep = ({ outputs }) => {
			if (outputs.length === 0 || ++steps !== count) return undefined;
			reach();
			return opened;
		};
	}
}

function tick(milliseconds = 0): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
