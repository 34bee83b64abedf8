// Days of use in a minute: thousands of small requests go through the language server to the real addon, and nothing of
// them may be left afterwards.
import { getEventListeners } from 'node:events';
import v8 from 'node:v8';
import vm from 'node:vm';
import { expect, test, vi } from 'vitest';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { type OpenedModel, openModel } from '../../../engine/loading/open-model';
import type { ChatMessage, ChatResult } from '../../../engine/protocol';
import { serveStreams } from '../../../engine/server/server';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { PromptLookup } from '../../../engine/speculation/prompt-lookup';
import { makeModel, temporaryFolder } from '../../support/models';
import { seededRandom } from '../support/fake-native';
import { streamPair } from '../support/lsp-client';

const REQUESTS = 10_000;
/** Requests that come before the counting begins. After these, every cache that has a limit has reached it. */
const WARM_UP = 4_000;
/** Requests under way at the same time. */
const WORKERS = 8;
/** Requests between two counts of the cache's blocks. */
const ROUND = 500;
const CONTEXT = 1024;
/**
 * Bytes that the requests may add. A listener left behind by each completion and chat would add 5 MB to JavaScript's
 * heap, of which a collection leaves some 2 MB more or less. The whole process's memory also holds memory that
 * allocators keep for reuse.
 */
const HEAP_GROWTH = 4e6;
const RESIDENT_GROWTH = 48e6;

const TEXT = `export function sum(values: number[]): number {
	let total = 0;
	for (const value of values) total += value;
	return total;
}
`;

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
const folder = temporaryFolder();
v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc') as () => void;

/** Memory in bytes, after a garbage collection. */
async function memory(): Promise<{ heap: number; resident: number }> {
	const heaps: number[] = [];
	for (let i = 0; i < 10; i++) {
		await new Promise((resolve) => setTimeout(resolve, 20));
		collectGarbage();
		heaps.push(process.memoryUsage().heapUsed);
	}
	return { heap: Math.min(...heaps), resident: process.memoryUsage.rss() };
}

test(`${REQUESTS} mixed requests leave nothing behind`, async () => {
	const file = await makeModel(folder, 'minimal', {
		...{ layers: 1, embedding: 32, feedForward: 32, experts: 4, expertsUsed: 2 },
		...{ heads: 2, headsKv: 1, headLength: 16, slidingWindow: 32, contextLength: CONTEXT },
	});
	let model: OpenedModel | undefined;
	const { client, input, output } = streamPair();
	const stop = new AbortController();
	const served = serveStreams(
		input,
		output,
		{
			settings: { ...DEFAULT_SETTINGS, modelPath: file, contextTokens: CONTEXT, threads: 1 },
			open: async (path, options) => {
				model = await openModel(path, options);
				return model;
			},
		},
		stop.signal,
	);
	await client.initialize({
		completion: { ...DEFAULT_SETTINGS.completion, maxTokens: 6, prefixTokens: 96, relatedTokens: 0, suffixTokens: 32 },
		chat: { ...DEFAULT_SETTINGS.chat, maxTokens: 12 },
	});
	await client.until(({ state }) => state === 'ready');
	const { engine } = model!;
	const { vocabularySize } = engine.info;
	const lookup = new PromptLookup();
	/** A signal that lives as long as the process, as an editor window's does. */
	const lifetime = new AbortController();
	const counts = { shown: 0, answered: 0, canceled: 0, cachedTokens: 0, accepted: 0, generated: 0 };

	const worker = async (id: number, next: () => boolean): Promise<void> => {
		const random = seededRandom(id);
		const below = (limit: number) => Math.floor(random() * limit);
		const uri = `file:///work/file-${id}.ts`;
		let messages: ChatMessage[] = [];
		let conversation = 0;
		let column = 0;
		let lines = 0;
		await client.open(uri, TEXT, 'typescript');
		let timeline: number[] = [];

		const complete = async (cancel: boolean): Promise<void> => {
			// Lines are typed above the text. The document is closed before it grows too long.
			const typed = ' return value;'.slice(column % 14, (column % 14) + 1 + below(4));
			await client.insert(uri, 0, column, typed);
			column += typed.length;
			const source = new CancellationTokenSource();
			const asked = client.connection.sendRequest<unknown[]>(
				'textDocument/inlineCompletion',
				{ textDocument: { uri }, position: { line: 0, character: column }, context: { triggerKind: 2 } },
				source.token,
			);
			if (cancel) setTimeout(() => source.cancel(), below(6));
			const items = await asked.catch(() => []);
			source.dispose();
			counts.shown += items.length;
			if (column < 60) return;
			await client.insert(uri, 0, 0, '\n');
			column = 0;
			if (++lines < 30) return;
			await client.connection.sendNotification('textDocument/didClose', { textDocument: { uri } });
			await client.open(uri, TEXT, 'typescript');
			lines = 0;
		};
		const chat = async (cancel: boolean): Promise<void> => {
			const conversationId = `${id}-${conversation}`;
			messages.push({ role: 'user', content: TEXT.slice(below(40), 40 + below(80)) });
			const source = new CancellationTokenSource();
			const asked = client.connection.sendRequest<ChatResult>(
				'hearth/chat',
				{ conversationId, messages, seed: below(1000), partialResultToken: `${conversationId}-${messages.length}` },
				source.token,
			);
			if (cancel) setTimeout(() => source.cancel(), below(6));
			const result = await asked;
			source.dispose();
			messages.push({ role: 'assistant', content: result.content });
			counts.accepted += result.usage.drafts.accepted;
			counts.cachedTokens += result.usage.cachedTokens;
			if (result.stopReason === 'canceled') counts.canceled++;
			else counts.answered++;
			if (messages.length < 8) return;
			if (random() < 0.5) await client.connection.sendRequest('hearth/forgetChat', { conversationId });
			messages = [];
			conversation++;
		};
		const generate = async (cancel: boolean): Promise<void> => {
			// The prompt goes on from all of the last timeline, from a part of it, or from nothing.
			const kept = random() < 0.2 ? 0 : below(timeline.length + 1);
			const tokens = timeline.slice(0, Math.min(kept, 300));
			for (let more = 1 + below(40); more > 0; more--) tokens.push(2 + below(vocabularySize - 2));
			const own = new AbortController();
			if (cancel) setTimeout(() => own.abort(), below(6));
			const result = await engine.generate({
				tokens,
				priority: (['completion', 'chat', 'benchmark', 'warmup'] as const)[below(4)]!,
				maxTokens: below(30),
				sampling: { temperature: below(2), topK: 0, topP: 0.95, minP: 0, seed: below(1000) },
				// Whether drafts pay depends on the machine. This source makes some in any case.
				...(random() < 0.5 && { drafts: { source: lookup, length: 4 } }),
				signal: cancel ? own.signal : lifetime.signal,
			});
			timeline = [...tokens, ...result.tokens];
			counts.generated += result.tokens.length;
			counts.cachedTokens += result.cachedTokens;
			counts.accepted += result.drafts.accepted;
			if (result.stopReason === 'canceled') counts.canceled++;
			if (random() < 0.1) engine.forget(timeline);
		};

		while (next()) {
			const kind = random();
			const cancel = random() < 0.2;
			if (kind < 0.4) await complete(cancel);
			else if (kind < 0.6) await chat(cancel);
			else await generate(cancel);
		}
		await client.connection.sendNotification('textDocument/didClose', { textDocument: { uri } });
	};
	/**
	 * Checks that no block is lost. Two requests fill the cache and drive out everything else. If blocks remain in use
	 * after both are forgotten, nobody can free them. The requests begin with tokens with which no other request begins:
	 * otherwise a block that is shared in part would stay, and one of these requests' own would go in its place.
	 */
	const expectNoBlockLost = async (): Promise<void> => {
		const { capacityTokens } = engine.cacheUse;
		const filling = [CONTEXT, capacityTokens - CONTEXT].map((length, start) =>
			Array.from({ length }, (_, index) => (start + index * 7) % vocabularySize),
		);
		for (const tokens of filling) await engine.generate({ tokens, priority: 'chat', maxTokens: 0 });
		expect(engine.cacheUse.usedTokens).toBe(capacityTokens);
		for (const tokens of filling) engine.forget(tokens);
		expect(engine.cacheUse.usedTokens).toBe(0);
	};
	let workers = 0;
	const run = async (requests: number): Promise<void> => {
		// Requests run in rounds, because with many lost blocks the engine might wait for ever before anyone counts them.
		for (let done = 0; done < requests; done += ROUND) {
			let left = ROUND;
			const next = () => left-- > 0;
			await Promise.all(Array.from({ length: WORKERS }, () => worker(++workers, next)));
			await expectNoBlockLost();
		}
		client.statuses.length = 0;
	};

	await run(WARM_UP);
	const before = await memory();
	await run(REQUESTS);
	const after = await memory();

	for (const [what, count] of Object.entries(counts)) expect(count, what).toBeGreaterThan(50);
	expect(after.heap - before.heap).toBeLessThan(HEAP_GROWTH);
	expect(after.resident - before.resident).toBeLessThan(RESIDENT_GROWTH);
	expect(getEventListeners(lifetime.signal, 'abort')).toEqual([]);
	expect(engine.busy).toBe(false);
	expect(await client.status()).toMatchObject({ state: 'ready', active: { completion: 0, chat: 0, benchmark: 0 } });

	stop.abort();
	await served;
	client.connection.dispose();
});
