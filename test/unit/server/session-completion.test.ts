import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import type { CompletionFormat } from '../../../engine/families/family';
import { FillCompletion } from '../../../engine/families/prompts/fill';
import type { EngineSettings, EngineStatus } from '../../../engine/protocol';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { fakeOpenedModel, harmony, type Script, tokenizer } from '../support/fake-opened-model';
import { streamPair } from '../support/lsp-client';

const A = 'file:///work/a.js';
const B = 'file:///work/b.js';

let end: (() => Promise<unknown>) | undefined;
afterEach(() => end?.());

/** A model that fills in the middle. `middle` gives its text for the whole prompt before it. */
async function start(middle: Script, completion: Partial<EngineSettings['completion']> = {}) {
	const { tokens } = harmony;
	const special = { prefix: tokens.start, suffix: tokens.end, middle: tokens.message };
	const fill = new FillCompletion(tokenizer, { ...special, repository: undefined, file: tokens.channel });
	// The model has to write again the text that token healing takes off the prompt.
	let healed = '';
	const format: CompletionFormat = {
		...{ name: fill.name, takesRelated: fill.takesRelated, shared: fill.shared },
		build: (file, window) => {
			const prompt = fill.build(file, window);
			healed = prompt.healed;
			return prompt;
		},
	};
	let prompts = 0;
	const script: Script = (text) => {
		const at = text.lastIndexOf('<|message|>') + '<|message|>'.length;
		if (at === text.length) prompts++;
		return `${healed}${middle(text.slice(0, at))}<|return|>`.slice(text.length - at);
	};
	const open = async () => {
		const model = fakeOpenedModel(script, { contextTokens: 4000 });
		return { ...model, family: { ...model.family, completion: format } };
	};
	const { client, input, output } = streamPair();
	const controller = new AbortController();
	const settings: EngineSettings = {
		...{ ...DEFAULT_SETTINGS, modelPath: '/a.gguf' },
		completion: { ...DEFAULT_SETTINGS.completion, ...completion },
	};
	const served = serveStreams(input, output, { settings, open }, controller.signal);
	end = async () => {
		controller.abort();
		await served;
		client.connection.dispose();
	};
	await client.initialize();
	await client.until(({ state }) => state === 'ready');
	const completeText = async (uri: string, line: number, character: number, more: object = {}) => {
		const items = await client.connection.sendRequest<{ insertText: string }[]>('textDocument/inlineCompletion', {
			...{ textDocument: { uri }, position: { line, character }, context: { triggerKind: 2 } },
			...more,
		});
		return items.map(({ insertText }) => insertText);
	};
	return { client, completeText, prompts: () => prompts };
}

/** Writes the name of the function in the prompt's other file. */
const namesOther: Script = (prompt) => `${/function (\w+)/.exec(prompt)?.[1] ?? 'nothing'}();`;

describe('related files', () => {
	test.each([
		['with completions there', true],
		['without', false],
	])('a change of another file shows when coming back, %s', async (_, visits) => {
		const { client, completeText, prompts } = await start(namesOther, { multiline: 'never' });
		await client.open(B, 'function add() {}\n');
		await client.open(A, 'foo.\n');
		expect(await completeText(A, 0, 4)).toEqual(['add();']);
		expect(await completeText(A, 0, 4)).toEqual(['add();']);
		expect(prompts()).toBe(1);
		await client.insert(B, 0, 12, 'Twice');
		if (visits) await completeText(B, 0, 0);
		expect(await completeText(A, 0, 4)).toEqual(['addTwice();']);
	});

	test('so does its being closed', async () => {
		const { client, completeText } = await start(namesOther, { multiline: 'never' });
		await client.open(B, 'function add() {}\n');
		await client.open(A, 'foo.\n');
		expect(await completeText(A, 0, 4)).toEqual(['add();']);
		await client.connection.sendNotification('textDocument/didClose', { textDocument: { uri: B } });
		expect(await completeText(A, 0, 4)).toEqual(['nothing();']);
	});

	test('a change beyond what is shown of it asks nobody again', async () => {
		const { client, completeText, prompts } = await start(namesOther, { multiline: 'never' });
		await client.open(B, `function add() {}\n${'x();\n'.repeat(500)}`);
		await client.open(A, 'foo.\n');
		await completeText(A, 0, 4);
		await client.insert(B, 400, 0, 'y');
		expect(await completeText(A, 0, 4)).toEqual(['add();']);
		expect(prompts()).toBe(1);
	});
});

describe('excluded files', () => {
	const SECRET = 'function hunter2() {}\n';
	const ENV = 'file:///work/.env';
	/** Notes what the model is shown, and writes the name of the function in the prompt's other file. */
	const watched = () => {
		const prompts: string[] = [];
		const script: Script = (prompt) => {
			prompts.push(prompt);
			return namesOther(prompt);
		};
		return { prompts, script };
	};

	test('get nothing, ask no model, and the status says why', async () => {
		const { prompts, script } = watched();
		const { client, completeText } = await start(script, { multiline: 'never' });
		await client.open(ENV, 'TOKEN=\n');
		expect(await completeText(ENV, 0, 6)).toEqual([]);
		expect(prompts).toEqual([]);
		const { lastCompletion } = await client.until((status) => status.lastCompletion?.outcome === 'excluded');
		expect(lastCompletion).toMatchObject({
			reason: 'files like this are excluded by hearth.completions.exclude',
			...{ promptTokens: 0, generatedTokens: 0 },
		});
	});

	test('are in no prompt of another file', async () => {
		const { prompts, script } = watched();
		const { client, completeText } = await start(script, { multiline: 'never' });
		await client.open(ENV, SECRET);
		await client.open('file:///work/id_rsa', SECRET);
		await client.open(B, 'function add() {}\n');
		await client.open(A, 'foo.\n');
		await completeText(ENV, 0, 3);
		expect(await completeText(A, 0, 4)).toEqual(['add();']);
		expect(prompts.join()).toContain('b.js');
		expect(prompts.join()).not.toMatch(/hunter2|\.env|id_rsa/);
	});

	test('a changed setting holds at once, for what was suggested before, too', async () => {
		const { prompts, script } = watched();
		const { client, completeText } = await start(script, { multiline: 'never', exclude: [] });
		const exclude = (patterns: string[]) =>
			client.connection.sendNotification('workspace/didChangeConfiguration', {
				settings: { hearth: { completion: { exclude: patterns } } },
			});
		await client.open(B, SECRET);
		await client.open(A, 'foo.\n');
		expect(await completeText(A, 0, 4)).toEqual(['hunter2();']);
		prompts.length = 0;
		await exclude(['b.js']);
		expect(await completeText(A, 0, 4)).toEqual(['nothing();']);
		expect(prompts.join()).not.toContain('hunter2');
		await exclude(['a.js']);
		expect(await completeText(A, 0, 4)).toEqual([]);
		await exclude([]);
		expect(await completeText(A, 0, 4)).toEqual(['hunter2();']);
	});

	test('what git ignores is excluded where the setting says so', async () => {
		const folder = mkdtempSync(path.join(tmpdir(), 'hearth-exclude-'));
		try {
			writeFileSync(path.join(folder, '.gitignore'), 'b.js\n');
			mkdirSync(path.join(folder, '.git'));
			const [a, b] = ['a.js', 'b.js'].map((name) => pathToFileURL(path.join(folder, name)).href) as [string, string];
			const { prompts, script } = watched();
			const { client, completeText } = await start(script, { multiline: 'never', excludeGitIgnored: true });
			await client.open(b, SECRET);
			await client.open(a, 'foo.\n');
			expect(await completeText(b, 0, 8)).toEqual([]);
			expect(await completeText(a, 0, 4)).toEqual(['nothing();']);
			expect(prompts.join()).not.toContain('hunter2');
			const status = await client.connection.sendRequest<EngineStatus>('hearth/status');
			expect(status.lastCompletion?.outcome).toBe('shown');
			await client.connection.sendNotification('workspace/didChangeConfiguration', {
				settings: { hearth: { completion: { excludeGitIgnored: false } } },
			});
			expect(await completeText(a, 0, 4)).toEqual(['hunter2();']);
		} finally {
			rmSync(folder, { recursive: true });
		}
	});
});

describe('line ends', () => {
	test.each(['\n', '\r\n', '\r'])('%j are kept, and positions count them', async (lineEnd) => {
		const { client, completeText } = await start((prompt) => {
			expect(prompt).not.toContain('\r');
			return '\n    one();\n    two();\n}';
		});
		await client.open(A, ['a();', 'if (x) {', 'b();', ''].join(lineEnd));
		expect(await completeText(A, 1, 8)).toEqual([['', '    one();', '    two();', '}'].join(lineEnd)]);
	});

	test('of the model are one each, whichever they are', async () => {
		const { client, completeText } = await start(() => ' 1;\rlet y', { multiline: 'never' });
		await client.open(A, 'let x =\n');
		expect(await completeText(A, 0, 7)).toEqual([' 1;']);
	});
});

describe('formatting options', () => {
	const body = () => '\n\tone();\n}';

	test.each([
		[{ tabSize: 3, insertSpaces: true }, '\n   one();\n}'],
		[{ tabSize: 8, insertSpaces: false }, '\n\tone();\n}'],
		// Values that make no sense are ignored; the file's own lines decide.
		[{ tabSize: 'x', insertSpaces: true }, '\n  one();\n}'],
		[{ tabSize: 0, insertSpaces: true }, '\n  one();\n}'],
		[{ tabSize: 2.5, insertSpaces: true }, '\n  one();\n}'],
		[{ tabSize: 4 }, '\n  one();\n}'],
		['spaces', '\n  one();\n}'],
		[undefined, '\n  one();\n}'],
	])('%j', async (formattingOptions, text) => {
		const { client, completeText } = await start(body);
		await client.open(A, 'f {\n  a();\n}\nif (x) {\n');
		expect(await completeText(A, 3, 8, { formattingOptions })).toEqual([text]);
	});

	test('are part of what a suggestion is remembered by', async () => {
		const { client, completeText } = await start(body);
		await client.open(A, 'if (x) {\n');
		const spaces = (tabSize: number) => completeText(A, 0, 8, { formattingOptions: { tabSize, insertSpaces: true } });
		expect(await spaces(2)).toEqual(['\n  one();\n}']);
		expect(await spaces(4)).toEqual(['\n    one();\n}']);
	});
});

test('a cursor within a character is before it', async () => {
	const { client } = await start(() => '1', { multiline: 'never' });
	await client.open(A, 'a 😀 b\n');
	expect(await client.complete(A, 0, 3)).toEqual([
		{ insertText: '1', range: { start: { line: 0, character: 2 }, end: { line: 0, character: 2 } } },
	]);
});

test('a line of 16 KB on either side, or of megabytes, completes', async () => {
	const minified = '{"id":1234,"tags":["a","b"]},'.repeat(600);
	const { client, completeText } = await start(() => '{"id":5},', { multiline: 'never' });
	for (const [before, after] of [
		['[', minified],
		[minified, ']'],
		[minified, minified],
		[minified.repeat(200), minified.repeat(200)],
	] as const) {
		await client.open(A, before + after, 'json');
		expect(await completeText(A, 0, before.length)).toEqual(['{"id":5},']);
		await client.connection.sendNotification('textDocument/didClose', { textDocument: { uri: A } });
	}
});
