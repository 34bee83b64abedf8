// The engine's services, called without any connection or protocol.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { readBenchmarkOptions } from '../../../engine/benchmark/options';
import type { ChatDelta } from '../../../engine/chat/messages';
import { NotEnoughMemoryError } from '../../../engine/models/memory-need';
import type { SelfTestReport } from '../../../engine/selftest/report';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { CompletionService } from '../../../engine/services/completion';
import { ModelChoice } from '../../../engine/services/model-choice';
import { type ModelHost, NoModelError, type OpenModel } from '../../../engine/services/model-host';
import { SelfTestService } from '../../../engine/services/selftest';
import { Services } from '../../../engine/services/services';
import type { StatusListener } from '../../../engine/services/status';
import type { EngineSettings } from '../../../engine/settings';
import { eventually } from '../../support/until';
import { answers, completes, decodeText, type FakeOpenedModel, fakeOpenedModel } from '../support/fake-opened-model';

const log = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
const TARGET = 'function add(first, second) {\n    return first + second;\n}\n';
const NEVER = new AbortController().signal;

let services: Services;
afterEach(async () => {
	await services.close();
	log.mockClear();
});

const settings = (modelPath: string, more: Partial<EngineSettings> = {}): EngineSettings => ({
	...{ ...DEFAULT_SETTINGS, modelPath },
	...more,
});

/**
 * Services with toy models. A file's name says what is in it: `chat`, `huge` or `broken`. All other files complete
 * `TARGET`.
 */
function start(fixedModel = false, onStep?: () => Promise<void>) {
	const opened: string[] = [];
	const models: FakeOpenedModel[] = [];
	const open: OpenModel = async (file, { turns }) => {
		opened.push(file);
		if (file.includes('broken')) throw new Error(`${file} is no GGUF file`);
		if (file.includes('huge')) throw new NotEnoughMemoryError({ ...SHORTAGE, path: file }, 0);
		const script = file.includes('chat') ? answers('<|channel|>final<|message|>Hello.<|return|>') : completes(TARGET);
		const model = fakeOpenedModel(script, {
			contextTokens: 2000,
			...(turns && { turns }),
			...(onStep && { onStep }),
		});
		models.push(model);
		return model;
	};
	services = new Services({ fixedModel, open });
	return { services, opened, models };
}

const SHORTAGE = {
	need: { weightBytes: 12e9, cacheBytes: 1e9, scratchBytes: 0.3e9, totalBytes: 13.3e9 },
	memory: { totalBytes: 16e9, availableBytes: 9e9 },
	alternatives: [],
};

/** Holds work until it is told to go on. */
function gate() {
	let open = () => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	return { wait: () => opened, open };
}

describe('completion', () => {
	const place = (before: string, more: object = {}) => ({
		...{ document: 'add.js', label: 'src/add.js', languageId: 'javascript', before, after: '\n', line: 0 },
		location: { path: '/src/add.js', folders: [], onDisk: false },
		...{ otherFiles: () => [], invoked: false, signal: NEVER },
		settings: { ...DEFAULT_SETTINGS.completion, multiline: 'never' as const },
		...more,
	});

	test('goes from text around a cursor to an edit, says what it cost, and counts while it runs', async () => {
		const counted: number[] = [];
		const { models, activity } = start(false, async () => {
			counted.push(activity.counts.completion);
		}).services;
		// Another model completes, so this one is not warmed up.
		await models.hosts.chat.load(settings('/code.gguf', { completionModelPath: '/other.gguf' }));
		const completion = new CompletionService(models, activity);
		expect(completion.lastReport).toBeUndefined();
		const result = await completion.complete(place('function add('));
		expect(result).toMatchObject({ outcome: 'shown', edit: { text: 'first, second) {', replace: 0 } });
		expect(completion.lastReport).toMatchObject({ outcome: 'shown', promptTokens: expect.any(Number) });
		expect(new Set(counted)).toEqual(new Set([1]));
		expect(activity.busy).toBe(false);
	});

	test('is nothing without a model, and a failure is a result that is logged', async () => {
		const fail = { now: false };
		const { models, activity } = start(false, async () => {
			if (fail.now) throw new Error('out of luck');
		}).services;
		const completion = new CompletionService(models, activity);
		expect(await completion.complete(place('x'))).toBeUndefined();
		await models.hosts.chat.load(settings('/code.gguf'));
		fail.now = true;
		expect(await completion.complete(place('function add('))).toMatchObject({ outcome: 'failed' });
		expect(log.mock.calls.join('')).toContain('completion failed: out of luck');
	});

	test('looks at other files only for a model that has a place for them', async () => {
		const { models, activity } = start().services;
		await models.hosts.chat.load(settings('/code.gguf'));
		const completion = new CompletionService(models, activity);
		const otherFiles = vi.fn(() => [{ ...place(''), document: 'b.js', label: 'b.js', text: 'function other() {}\n' }]);
		await completion.complete(place('function add(', { otherFiles }));
		expect(otherFiles).not.toHaveBeenCalled();
		const { family } = models.hosts.chat.requireModel();
		const taking = Object.create(family.completion, { takesRelated: { value: true } });
		Object.assign(family, { completion: taking });
		await completion.complete(place('function add(f', { otherFiles }));
		expect(otherFiles).toHaveBeenCalledOnce();
	});

	test('of an excluded file wakes no model, and says why', async () => {
		const { services, opened } = start();
		const completion = new CompletionService(services.models, services.activity);
		const excluded = place('TOKEN=', { location: { path: '/src/.env', folders: [], onDisk: true } });
		expect(await completion.complete(excluded)).toMatchObject({ outcome: 'excluded' });
		expect(completion.lastReport).toMatchObject({
			outcome: 'excluded',
			promptTokens: 0,
			reason: expect.stringContaining('exclude'),
		});
		expect(opened).toEqual([]);
	});

	test('goes on with the model that has taken the place of the one before', async () => {
		const { services, models } = start();
		const completion = new CompletionService(services.models, services.activity);
		for (const file of ['/one.gguf', '/two.gguf']) {
			await services.models.hosts.chat.load(settings(file));
			expect(await completion.complete(place('function add('))).toMatchObject({ outcome: 'shown' });
			expect(models.at(-1)!.native.batches.length).toBeGreaterThan(0);
		}
		completion.dispose();
	});
});

describe('chat', () => {
	const question = {
		conversationId: 'one',
		messages: [{ role: 'user' as const, content: 'Hi '.repeat(100) }],
		temperature: 0,
	};
	const options = (onDelta: (delta: ChatDelta) => void = () => {}) => ({
		...{ settings: DEFAULT_SETTINGS.chat, signal: NEVER, onDelta },
	});

	test('streams, counts while it runs, and forgets', async () => {
		const { services, models } = start();
		await services.models.hosts.chat.load(settings('/chat.gguf'));
		const deltas: string[] = [];
		const counted: number[] = [];
		const answer = await services.chat.answer(
			question,
			options(({ text }) => {
				deltas.push(text);
				counted.push(services.activity.counts.chat);
			}),
		);
		expect(answer).toMatchObject({ content: 'Hello.', stopReason: 'stop' });
		expect(deltas.join('')).toBe('Hello.');
		expect(new Set(counted)).toEqual(new Set([1]));
		expect(services.activity.busy).toBe(false);
		expect(decodeText(models[0]!.native.batches[0]!.tokens)).toContain('<|start|>');

		const cached = async () => (await services.chat.answer(question, options())).usage.cachedTokens;
		const before = await cached();
		services.chat.forget('one');
		services.chat.forget('unknown');
		// The beginning that all conversations share stays cached.
		expect(before - (await cached())).toBeGreaterThan(100);
	});

	test('without a model says what to do', async () => {
		start();
		await expect(services.chat.answer(question, options())).rejects.toBeInstanceOf(NoModelError);
	});
});

test('one benchmark runs at a time, of a model that is there', async () => {
	const hold = gate();
	const { services } = start(false, hold.wait);
	const options = readBenchmarkOptions({ prompt: 20, generate: 2, batch: 1, length: 1, repeat: 1 });
	const run = () => services.benchmark.run(options, NEVER, () => {});
	await expect(run()).rejects.toBeInstanceOf(NoModelError);
	// There is no other work: another model completes, so this one is not warmed up.
	await services.models.hosts.chat.load(settings('/a.gguf', { completionModelPath: '/b.gguf' }));
	const running = run();
	await eventually(() => expect(services.status.current.state).toBe('busy'));
	await expect(run()).rejects.toThrow('a benchmark is running already');
	hold.open();
	expect((await running).results.map(({ test: name }) => name)).toContain('pp20');
});

describe('a self-test', () => {
	const report = (state: SelfTestReport['gpus'][number]['state']): SelfTestReport => ({
		...{ createdAt: '', version: '', seed: 1, sizes: 'small', kernels: [], models: [] },
		gpus: [{ id: 'metal', name: 'Metal', state }],
		machine: { cpu: 'toy', cores: 1, memoryBytes: 1e9, platform: 'linux x64', features: [] },
	});

	test.each([
		['ok', 1],
		['absent', 1],
		['off', 2],
		['on-again', 2],
	] as const)('whose verdict is %s leaves the model opened %d times', async (state, times) => {
		const { services, opened } = start();
		await services.models.hosts.chat.load(settings('/a.gguf'));
		const selfTest = new SelfTestService(services.models, async () => report(state));
		expect(await selfTest.run(true, NEVER, () => {})).toMatchObject({ passed: true, report: report(state) });
		await eventually(() => expect(services.status.current.state).toBe('ready'));
		expect(opened.length).toBe(times);
	});

	test('runs once at a time', async () => {
		const hold = gate();
		const selfTest = new SelfTestService(start().services.models, async () => {
			await hold.wait();
			return report('ok');
		});
		const running = selfTest.run(true, NEVER, () => {});
		await expect(selfTest.run(true, NEVER, () => {})).rejects.toThrow('a self-test is running already');
		hold.open();
		await running;
		await expect(selfTest.run(true, NEVER, () => {})).resolves.toBeDefined();
	});
});

describe("a client's choice of models", () => {
	function choose(fixedModel = false) {
		const started = start(fixedModel);
		const changed = vi.fn();
		const loads: Promise<unknown>[] = [];
		const choice = new ModelChoice(started.services.models, changed, (loading) => {
			loads.push(loading);
		});
		return {
			...started,
			choice,
			changed,
			settled: () => Promise.allSettled(loads),
			hosts: started.services.models.hosts,
		};
	}
	const inUse = (host: ModelHost) => (host.state.state === 'no-model' ? undefined : host.model !== undefined);

	test('is loaded at its start, but only with leave over what is in use', async () => {
		const { choice, opened, settled } = choose();
		choice.start(settings('/a.gguf'), false);
		await settled();
		choice.start(settings('/b.gguf'), false);
		await settled();
		expect(opened).toEqual(['/a.gguf']);
		choice.start(settings('/b.gguf', { completionModelPath: '/code.gguf' }), true);
		await settled();
		expect(opened).toEqual(['/a.gguf', '/code.gguf', '/b.gguf']);
	});

	test('may replace models where no other client is there and the command line gave none', () => {
		const client: StatusListener = { notify: () => {} };
		for (const fixedModel of [false, true]) {
			start(fixedModel);
			services.status.add(client);
			expect(services.mayReplaceModels(client)).toBe(!fixedModel);
			services.status.add({ notify: () => {} });
			expect(services.mayReplaceModels(client)).toBe(false);
		}
	});

	test('is followed where its settings change, and takes nothing away that another client chose', async () => {
		const { choice, hosts, opened, settled } = choose();
		const mine = settings('/a.gguf');
		choice.start(mine, false);
		await settled();
		choice.change(mine, settings('/a.gguf', { unloadAfterMinutes: 5 }));
		expect(opened).toEqual(['/a.gguf']);
		await hosts.chat.load(settings('/theirs.gguf'));
		choice.change(mine, settings(''));
		await eventually(() => expect(inUse(hosts.chat)).toBe(true));
		expect(hosts.chat.state).toMatchObject({ state: 'ready' });
		choice.change(settings('/theirs.gguf'), settings(''));
		await eventually(() => expect(inUse(hosts.chat)).toBeUndefined());
	});

	test('says why it is not in use until it is, or is given up', async () => {
		const { choice, changed, settled } = choose();
		choice.start(settings('/huge.gguf'), true);
		await eventually(() => expect(choice.failure).toMatchObject({ shortage: { path: '/huge.gguf' } }));
		expect(changed).toHaveBeenCalled();
		choice.change(settings('/huge.gguf'), settings('/broken.gguf'));
		await eventually(() => expect(choice.failure).toEqual({ error: '/broken.gguf is no GGUF file' }));
		choice.change(settings('/broken.gguf'), settings('/a.gguf'));
		await settled();
		await eventually(() => expect(choice.failure).toBeUndefined());
	});

	test('by path is for the role it is asked for; the model that chats completes where it is asked to', async () => {
		const { choice, hosts, opened } = choose();
		await choice.load('chat', '/a.gguf', DEFAULT_SETTINGS);
		await choice.load('completion', '/code.gguf', settings('/a.gguf'));
		expect(hosts.completion.model).toBeDefined();
		expect(await choice.load('completion', '/a.gguf', settings('/a.gguf'))).toMatchObject({ name: 'fake' });
		expect(hosts.completion.model).toBeUndefined();
		expect(opened).toEqual(['/a.gguf', '/code.gguf']);
		await expect(choice.load('chat', '/broken.gguf', DEFAULT_SETTINGS)).rejects.toThrow('is no GGUF file');
		expect(choice.failure, 'the request has answered that').toBeUndefined();
	});
});

test('models are unloaded when they have been idle, and warm-up is no idleness', async () => {
	const { services } = start();
	const { hosts } = services.models;
	services.idle.minutes = 0.02 / 60;
	await hosts.chat.load(settings('/a.gguf'));
	await eventually(() => expect(hosts.chat.state.state).toBe('unloaded'));
	const hold = gate();
	const working = services.activity.run('chat', hold.wait);
	await services.models.modelFor('chat');
	await new Promise((resolve) => setTimeout(resolve, 100));
	expect(hosts.chat.state.state).toBe('ready');
	hold.open();
	await working;
	await eventually(() => expect(hosts.chat.state.state).toBe('unloaded'));
});
