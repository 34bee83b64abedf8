import { afterEach, expect, test, vi } from 'vitest';
import { CancellationTokenSource, RequestType } from 'vscode-jsonrpc';
import type { Connection } from 'vscode-languageserver';
import { ErrorCode } from '../../../engine/protocol';
import { Requests } from '../../../engine/server/requests';
import { NoModelError } from '../../../engine/services/model-host';

const log = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
afterEach(() => log.mockClear());

type Params = { text: string; workDoneToken?: string };
const Ask = new RequestType<Params, string, void>('test/ask');

/** Requests over a connection that keeps the messages that are sent. `call` acts as the client. */
function setUp() {
	const gone = new AbortController();
	const sent: unknown[][] = [];
	let handler: ((params: Params, token: unknown) => Promise<string>) | undefined;
	const connection = {
		onRequest: (_method: string, given: typeof handler) => {
			handler = given;
		},
		sendProgress: async (_type: unknown, token: string, value: unknown) => {
			sent.push([token, value]);
		},
	};
	const requests = new Requests(connection as unknown as Connection, gone.signal);
	const call = (params: Params, source = new CancellationTokenSource()) => handler!(params, source.token);
	return { requests, call, sent, gone };
}

const untilAborted = (signal: AbortSignal) =>
	new Promise<never>((_, reject) => {
		const abort = () => reject(new Error('aborted'));
		if (signal.aborted) abort();
		signal.addEventListener('abort', abort);
	});

test('an error gets its own code, or the request’s, and only one without either is logged', async () => {
	const { requests, call } = setUp();
	const errors = [new NoModelError({ state: 'no-model' }), new Error('no route')];
	requests.on(Ask, () => Promise.reject(errors.shift()), ErrorCode.downloadFailed);
	await expect(call({ text: '' })).rejects.toMatchObject({ code: ErrorCode.noModel });
	await expect(call({ text: '' })).rejects.toMatchObject({ code: ErrorCode.downloadFailed, message: 'no route' });
	expect(log).not.toHaveBeenCalled();
	requests.on(Ask, () => {
		throw new Error('a bug');
	});
	await expect(call({ text: '' })).rejects.toMatchObject({ code: ErrorCode.engineFailed, message: 'a bug' });
	expect(log.mock.calls.join('')).toContain('request failed: a bug');
});

test('long work reports what it does between its beginning and its end, to who gave a token', async () => {
	const { requests, call, sent } = setUp();
	requests.onLong(Ask, { title: 'asking', name: 'question' }, async ({ text }, _signal, report) => {
		report({ percentage: 50, message: 'half' });
		return text.toUpperCase();
	});
	expect(await call({ text: 'a', workDoneToken: 't' })).toBe('A');
	expect(sent).toEqual([
		['t', { kind: 'begin', title: 'Hearth: asking', cancellable: true, percentage: 0 }],
		['t', { kind: 'report', percentage: 50, message: 'half' }],
		['t', { kind: 'end' }],
	]);
	expect(await call({ text: 'b' })).toBe('B');
	expect(sent.length).toBe(3);
});

test.each(['before', 'while'])(
	'long work that is cancelled %s it runs fails by its name and ends its progress',
	async (when) => {
		const { requests, call, sent } = setUp();
		requests.onLong(Ask, { title: 'asking', name: 'question' }, (_params, signal) => untilAborted(signal));
		const source = new CancellationTokenSource();
		if (when === 'before') source.cancel();
		const called = call({ text: '', workDoneToken: 't' }, source);
		if (when === 'while') source.cancel();
		await expect(called).rejects.toMatchObject({ code: -32800, message: 'the question was cancelled' });
		expect(sent.at(-1)).toEqual(['t', { kind: 'end' }]);
		expect(log).not.toHaveBeenCalled();
	},
);

test('a client that goes cancels all its requests and is told nothing more', async () => {
	const { requests, call, sent, gone } = setUp();
	requests.onLong(Ask, { title: 'asking', name: 'question' }, (_params, signal) => untilAborted(signal));
	const called = Promise.allSettled([1, 2].map(() => call({ text: '', workDoneToken: 't' })));
	gone.abort();
	expect(await called).toMatchObject([1, 2].map(() => ({ status: 'rejected', reason: { code: -32800 } })));
	expect(sent.map(([, value]) => (value as { kind: string }).kind)).toEqual(['begin', 'begin']);
});
