import { afterEach, describe, expect, test, vi } from 'vitest';
import { RequestType } from 'vscode-jsonrpc';
import * as protocol from '../../../engine/protocol';
import { parameterProblem } from '../../../engine/server/parameters';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { seededRandom } from '../support/fake-native';
import { answers, fakeOpenedModel } from '../support/fake-opened-model';
import { streamPair } from '../support/lsp-client';

const INVALID_PARAMS = -32602;
const log = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
const logged = () => log.mock.calls.map(([line]) => String(line)).join('');

const URI = 'file:///work/src/add.js';
const RANGE = { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } };

/** Good parameters for every request and notification that has parameters, with all fields that they may have. */
const GOOD: Record<string, object> = {
	'hearth/chat': {
		conversationId: 'c',
		messages: [{ role: 'user', content: 'Hi' }],
		context: [{ label: 'a.ts', languageId: 'typescript', text: 'x' }],
		reasoningEffort: 'low',
		maxTokens: 2,
		temperature: 0.5,
		seed: 7,
		partialResultToken: 'p',
	},
	'hearth/forgetChat': { conversationId: 'c' },
	'hearth/loadModel': {
		path: '/a.gguf',
		role: 'chat',
		memoryLimit: 'machine',
		settings: { contextTokens: 512, cacheType: 'f16', modelPath: '', completionModelPath: '', draftModelPath: '' },
	},
	'hearth/convertModel': { path: '/no/such/folder', workDoneToken: 'w' },
	'hearth/listModels': { folders: ['/no/such/folder'], downloadFolder: '/no/such/folder' },
	'hearth/downloadSize': {
		id: 'no such model',
		folder: '/x',
		network: { proxy: '', proxyAuthorization: 'x', noProxy: ['a'], strictTls: true },
	},
	'hearth/startDownload': { id: 'no such model', folder: '/x', network: { noProxy: [] } },
	'hearth/stopDownload': { id: 'no such model', discard: false, folder: '/x' },
	'hearth/selfTest': { quick: true, workDoneToken: 1 },
	'hearth/benchmark': {
		...{ tests: ['pp'], prompt: [4], generate: 1, batch: 1, length: 1, depth: [0], repeat: 1, repack: false },
		workDoneToken: 'b',
	},
	'textDocument/inlineCompletion': {
		textDocument: { uri: URI },
		position: { line: 0, character: 1 },
		context: { triggerKind: 2, selectedCompletionInfo: { range: RANGE, text: 'f' } },
	},
	'textDocument/didOpen': { textDocument: { uri: URI, languageId: 'javascript', version: 1, text: 'f' } },
	'textDocument/didChange': {
		textDocument: { uri: URI, version: 2 },
		contentChanges: [{ range: RANGE, rangeLength: 1, text: 'g' }],
	},
	'textDocument/didClose': { textDocument: { uri: URI } },
	'textDocument/didSave': { textDocument: { uri: URI }, text: 'f' },
	'textDocument/willSave': { textDocument: { uri: URI }, reason: 1 },
	'textDocument/willSaveWaitUntil': { textDocument: { uri: URI }, reason: 1 },
	'workspace/didChangeConfiguration': { settings: {} },
	'workspace/didChangeWorkspaceFolders': { event: { added: [{ uri: URI, name: 'x' }], removed: [] } },
	'$/cancelRequest': { id: 99_999 },
	'$/setTrace': { value: 'off' },
	'window/workDoneProgress/cancel': { token: 'w' },
};

let end: (() => Promise<unknown>) | undefined;
afterEach(async () => {
	await end?.();
	end = undefined;
	log.mockClear();
});

async function start() {
	const { client, input, output } = streamPair();
	const controller = new AbortController();
	const open = async () =>
		fakeOpenedModel(answers('<|channel|>final<|message|>Hello<|return|>'), { contextTokens: 2000 });
	const settings = { ...DEFAULT_SETTINGS, modelPath: '/a.gguf' };
	const served = serveStreams(input, output, { settings, open }, controller.signal);
	end = async () => {
		controller.abort();
		await served;
		client.connection.dispose();
	};
	await client.initialize();
	await client.until(({ state }) => state === 'ready');
	await client.open(URI, 'function add(\n');
	return client;
}

describe('what is good passes', () => {
	test.each(Object.keys(GOOD))('%s', (method) => {
		expect(parameterProblem(method, GOOD[method])).toBeUndefined();
	});

	test.each<[string, object]>([
		['hearth/chat', { conversationId: '', messages: [{ role: 'user', content: '' }] }],
		['hearth/chat', { conversationId: 'c', messages: [1, 2].map(() => ({ role: 'user', content: 'x' })), unknown: 5 }],
		['hearth/chat', { ...GOOD['hearth/chat'], temperature: 0, seed: 0, maxTokens: 2 ** 24 }],
		['hearth/chat', { ...GOOD['hearth/chat'], temperature: 100, seed: Number.MAX_SAFE_INTEGER, context: [] }],
		['hearth/benchmark', {}],
		['hearth/benchmark', { tests: 'all', prompt: 0, batch: [1, 2] }],
		['hearth/listModels', { folders: [] }],
		['textDocument/didChange', { textDocument: { uri: URI, version: -3 }, contentChanges: [{ text: '' }] }],
		[
			'textDocument/inlineCompletion',
			{
				...GOOD['textDocument/inlineCompletion'],
				position: { line: 2 ** 31 - 1, character: 2 ** 31 - 1 },
				context: { triggerKind: 1, selectedCompletionInfo: null },
				workDoneToken: null,
			},
		],
		['initialize', { capabilities: {}, workspaceFolders: null, processId: null, rootUri: null }],
		['hearth/status', {}],
		['no/such/method', { anything: 1 }],
	])('%s with %j', (method, params) => {
		expect(parameterProblem(method, params)).toBeUndefined();
	});
});

describe('what is wrong is named', () => {
	const chat = GOOD['hearth/chat']!;
	test.each<[string, unknown, string | RegExp]>([
		['hearth/chat', undefined, 'the parameters are missing'],
		['hearth/chat', [chat], 'the parameters must be an object, not a list'],
		['hearth/chat', { ...chat, maxTokens: 'x' }, 'maxTokens must be a whole number from 1 to 16777216, not text'],
		['hearth/chat', { ...chat, maxTokens: -5 }, 'maxTokens must be a whole number from 1 to 16777216, not -5'],
		['hearth/chat', { ...chat, maxTokens: 1.5 }, 'maxTokens must be a whole number from 1 to 16777216, not 1.5'],
		['hearth/chat', { ...chat, maxTokens: null }, 'maxTokens must be a whole number from 1 to 16777216, not null'],
		['hearth/chat', { ...chat, temperature: -1 }, 'temperature must be a number from 0 to 100, not -1'],
		['hearth/chat', { ...chat, temperature: Number.NaN }, 'temperature must be a number from 0 to 100, not NaN'],
		['hearth/chat', { ...chat, temperature: 1 / 0 }, 'temperature must be a number from 0 to 100, not Infinity'],
		['hearth/chat', { ...chat, seed: 1.5e300 }, 'seed must be a whole number from 0 to 9007199254740991, not 1.5e+300'],
		['hearth/chat', { ...chat, reasoningEffort: 'max' }, 'reasoningEffort must be low, medium or high, not "max"'],
		['hearth/chat', { ...chat, messages: [] }, 'messages must not be empty'],
		['hearth/chat', { ...chat, messages: 'Hi' }, 'messages must be a list, not text'],
		['hearth/chat', { ...chat, messages: new Array(2) }, 'messages[0] must be an object, not undefined'],
		['hearth/chat', { ...chat, messages: [null] }, 'messages[0] must be an object, not null'],
		['hearth/chat', { ...chat, messages: [{ role: 'user' }] }, 'messages[0].content is missing'],
		[
			'hearth/chat',
			{ ...chat, messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }] },
			'messages[0].content must be text, not a list',
		],
		[
			'hearth/chat',
			{ ...chat, messages: [{ role: 'system', content: 'x' }] },
			'messages[0].role must be user or assistant, not "system"',
		],
		[
			'hearth/chat',
			{ ...chat, messages: [{ role: 'assistant', content: 'x' }] },
			"the last of messages must be the user's",
		],
		['hearth/chat', { ...chat, context: [{ label: 'a' }] }, 'context[0].text is missing'],
		['hearth/loadModel', { path: '' }, 'path must be the path of a file or folder, not empty text'],
		['hearth/loadModel', { path: 'a\0b' }, 'path must be the path of a file or folder, not text'],
		[
			'hearth/loadModel',
			{ path: '/a', settings: { contextTokens: 1e9 } },
			'settings.contextTokens must be a whole number from 64 to 16777216, not 1000000000',
		],
		['hearth/stopDownload', { id: 'x' }, 'discard is missing'],
		['hearth/benchmark', { tests: ['pp', 'x'] }, /^tests\[1\] must be load, .* not "x"$/],
		['hearth/benchmark', { batch: 1e12 }, 'batch must be a whole number from 0 to 16777216, not 1000000000000'],
		[
			'textDocument/inlineCompletion',
			{ ...GOOD['textDocument/inlineCompletion'], position: { line: 0, character: 1.5 } },
			'position.character must be a whole number from 0 to 2147483647, not 1.5',
		],
		['hearth/status', 5, 'the parameters must be an object or a list'],
	])('%s with %j', (method, params, problem) => {
		const told = parameterProblem(method, params);
		if (typeof problem === 'string') expect(told).toBe(`${method}: ${problem}`);
		else expect(told?.slice(method.length + 2)).toMatch(problem);
	});
});

test('the parameters of each request of the protocol are checked, and there are good ones of it here', () => {
	const methods = Object.values(protocol).flatMap((value) =>
		value instanceof RequestType && value.numberOfParams > 0 ? [value.method] : [],
	);
	expect(methods.length).toBeGreaterThan(8);
	expect(Object.keys(GOOD)).toEqual(expect.arrayContaining(methods));
	// A request whose parameters were not checked would accept any list.
	for (const method of methods) expect(parameterProblem(method, [])).toContain('must be an object, not a list');
});

test('a request with wrong parameters is an error of its own; a notification is left out and logged', async () => {
	const client = await start();
	const wrong = { ...GOOD['hearth/chat'], messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }] };
	await expect(client.connection.sendRequest('hearth/chat', wrong)).rejects.toMatchObject({
		code: INVALID_PARAMS,
		message: 'hearth/chat: messages[0].content must be text, not a list',
	});
	await client.connection.sendNotification('textDocument/didChange', {
		textDocument: { uri: URI, version: 2 },
		contentChanges: [{ text: 'gone' }, { range: { start: { line: 0, character: 1.5 }, end: RANGE.end }, text: 'x' }],
	});
	await client.connection.sendNotification('$/cancelRequest');
	// The document is unchanged: no part of a wrong change is applied.
	await client.insert(URI, 0, 13, 'x');
	expect((await client.status()).state).toBe('ready');
	expect(logged()).toMatch(/a notification was left out: textDocument\/didChange: contentChanges\[1\]\.range\.start\./);
	expect(logged()).toContain('a notification was left out: $/cancelRequest: the parameters are missing');
});

test.each([
	...[1.5, -1, 2 ** 31, 1.5e300, '0', null, undefined, {}, []].flatMap((bad) => [
		{ line: bad, character: 0 },
		{ line: 0, character: bad },
	]),
])('a completion at %j is refused', async (position) => {
	const client = await start();
	await expect(
		client.connection.sendRequest('textDocument/inlineCompletion', {
			...GOOD['textDocument/inlineCompletion'],
			position,
		}),
	).rejects.toMatchObject({ code: INVALID_PARAMS });
});

test('no answer has a position that is no number', async () => {
	const client = await start();
	for (const [line, character] of [
		[0, 2 ** 31 - 1],
		[2 ** 31 - 1, 0],
		[0, 0],
	] as const) {
		expect(JSON.stringify(await client.complete(URI, line, character))).not.toContain('null');
	}
});

const BAD = [
	null,
	true,
	-1,
	1.5,
	1.5e300,
	-0.5,
	2 ** 53,
	Number.POSITIVE_INFINITY,
	'x',
	'',
	'y'.repeat(1e5),
	[],
	{},
	[null],
	[[[]]],
	{ a: 1 },
];

/** Changes one place of the parameters: it is replaced by something else, taken out, or put into a list. */
function mutate(random: () => number, value: unknown): unknown {
	const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)]!;
	if (typeof value !== 'object' || value === null || random() < 0.15) return random() < 0.1 ? [value] : pick(BAD);
	const keys = Object.keys(value);
	if (keys.length === 0) return pick(BAD);
	const key = pick(keys);
	const copy = structuredClone(value) as Record<string, unknown>;
	if (random() < 0.15) delete copy[key];
	else copy[key] = mutate(random, copy[key]);
	return copy;
}

test('whatever a client sends, others get their answers and it gets its own', async () => {
	const client = await start();
	const other = () =>
		client.connection.sendRequest<protocol.ChatResult>('hearth/chat', {
			...{ conversationId: 'other', messages: [{ role: 'user', content: 'Hi' }] },
		});
	const random = seededRandom(9);
	const known = new Set([INVALID_PARAMS, -32001, -32002, -32003, -32004, -32005, -32007]);
	// Requests that would load, measure or test something for a while. They are sent only with wrong parameters.
	const slow = new Set(['hearth/selfTest', 'hearth/loadModel', 'hearth/benchmark']);
	for (let round = 0; round < 60; round++) {
		const answered = other();
		const sent: Promise<unknown>[] = [];
		for (const [method, good] of Object.entries(GOOD)) {
			const params = mutate(random, good) as object;
			if (slow.has(method) && parameterProblem(method, JSON.parse(JSON.stringify(params))) === undefined) continue;
			if (/did|will|\$\/|cancel/.test(method)) {
				await client.connection.sendNotification(method, params);
			} else {
				sent.push(
					client.connection.sendRequest(method, params).catch((error: { code: number; message: string }) => {
						expect(known, `${method} ${JSON.stringify(params).slice(0, 200)}: ${error.message}`).toContain(error.code);
						if (error.code === INVALID_PARAMS) expect(error.message).toMatch(new RegExp(`^${method}: `));
						expect(error.message).not.toContain('\n');
					}),
				);
			}
		}
		await Promise.all(sent);
		expect((await answered).content).toBe('Hello');
		// A good change of the settings among those sent puts the model back, whatever went before it.
		expect(['ready', 'busy']).toContain((await client.status()).state);
	}
	expect(logged()).not.toMatch(/TypeError|ReferenceError/);
});
