// Which backend computes: the choice, a verdict kept on disk, and a GPU that fails in the middle of its work.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { chooseBackend } from '../../../engine/loading/backend';
import { Engine, type EngineOptions } from '../../../engine/runtime/engine';
import { readVerdict, stateFolder, turnOff, turnOn } from '../../../engine/selftest/verdict';
import { DEVICE_FAILED, type Device } from '../../../native/index';
import { temporaryFolder } from '../../support/models';
import { expectedTokens, FakeModel, type FakeModelOptions } from '../support/fake-native';

const metal: Device = { id: 'metal', kind: 'gpu', name: 'Metal', hardware: 'Apple M4', onThisSystem: true };
const cpu: Device = { id: 'cpu', kind: 'cpu', name: 'CPU', onThisSystem: true };
/** A GPU of the future. The engine knows it only from this list of devices. */
const vulkan = { id: 'vulkan', kind: 'gpu', name: 'Vulkan', hardware: 'Arc', onThisSystem: true } as unknown as Device;

describe('the choice', () => {
	const folder = temporaryFolder();
	beforeEach(() => {
		process.env['HEARTH_STATE'] = folder;
		for (const gpu of [metal, vulkan]) turnOn(gpu);
	});

	test('is what was asked for where nothing speaks against it', () => {
		for (const asked of ['auto', 'metal', 'cpu'] as const) {
			expect(chooseBackend(asked, [metal, cpu], undefined)).toEqual({ backend: asked });
			const { hardware: _, ...none } = { ...metal, onThisSystem: false, reason: 'no Mac' };
			expect(chooseBackend(asked, [none, cpu], 'f32')).toEqual({ backend: asked });
		}
	});

	test('is the CPU for a cache that Metal has no kernels for', () => {
		for (const type of ['f16', 'q8_0'] as const) {
			expect(chooseBackend('auto', [metal, cpu], type)).toEqual({ backend: 'auto' });
		}
		const { backend, note } = chooseBackend('metal', [metal, cpu], 'f32');
		expect(backend).toBe('cpu');
		expect(note).toMatch(/f32/);
	});

	test('is the CPU after a failed self-test, until one passes or Metal is asked for by name', () => {
		turnOff(metal, '2 of 30 kernels wrong');
		const { backend, note } = chooseBackend('auto', [metal, cpu], undefined);
		expect(backend).toBe('cpu');
		expect(note).toMatch(
			/^the CPU computes, not Metal: the self-test of [\d-]{10} found 2 of 30 kernels wrong; run the self-test again to turn Metal on if it passes, or set the backend to "metal" to use it all the same$/,
		);
		expect(chooseBackend('metal', [metal, cpu], undefined)).toEqual({ backend: 'metal' });
		expect(chooseBackend('auto', [{ ...metal, hardware: 'Apple M5' }, cpu], undefined)).toEqual({ backend: 'auto' });
		turnOn(metal);
		expect(chooseBackend('auto', [metal, cpu], undefined)).toEqual({ backend: 'auto' });
	});

	test('is the first usable GPU without a verdict against it, else the CPU', () => {
		const devices = [metal, vulkan, cpu];
		expect(chooseBackend('auto', devices, undefined)).toEqual({ backend: 'auto' });
		turnOff(metal, 'norm wrong');
		expect(chooseBackend('auto', devices, undefined)).toEqual({ backend: 'vulkan' });
		const unusable = [metal, { ...vulkan, reason: 'it has no driver' }, cpu];
		expect(chooseBackend('auto', unusable, undefined)).toMatchObject({ backend: 'cpu' });
		turnOff(vulkan, 'attention wrong');
		expect(chooseBackend('auto', devices, undefined)).toEqual({
			backend: 'cpu',
			note: expect.stringMatching(/^the CPU computes, not Metal: .* found norm wrong; .* "metal"/),
		});
		turnOn(metal);
		expect(chooseBackend('auto', devices, undefined)).toEqual({ backend: 'metal' });
		expect(chooseBackend('auto', [vulkan, cpu], undefined).note).toMatch(/turn Vulkan on if .* "vulkan" to use it/);
	});

	test('keeps a verdict in a file of the device, as earlier versions did', () => {
		turnOff(metal, 'norm wrong');
		const { device, reason } = JSON.parse(readFileSync(path.join(stateFolder(), 'metal-off.json'), 'utf8'));
		expect({ device, reason }).toEqual({ device: 'Apple M4', reason: 'norm wrong' });
		expect(readVerdict(metal)?.reason).toBe('norm wrong');
		expect(readVerdict(vulkan)).toBeUndefined();
	});

	test.each(['', '{', 'null', '7', '{"reason": 3}', '{"reason":"x","createdAt":"y"}'])(
		'a damaged verdict is none: %s',
		(text) => {
			writeFileSync(path.join(stateFolder(), 'metal-off.json'), text);
			expect(readVerdict(metal)).toBeUndefined();
		},
	);
});

describe('a GPU that fails while it works', () => {
	const deviceError = () => Object.assign(new Error('out of GPU memory'), { code: DEVICE_FAILED });

	/** An engine on a toy GPU that fails at its `failAt`th step, in the given round of that step. */
	function setUp(failAt: number, options: EngineOptions = {}, failRound = 0) {
		const gpu: FakeModelOptions = {
			onStep: (_, round) => {
				if (failing.batches.length === failAt && round === failRound) throw deviceError();
			},
		};
		const failing = new FakeModel(gpu);
		const cpu = new FakeModel();
		const notes: string[] = [];
		const engine = new Engine(failing, {
			...{ contextTokens: 256, cacheTokens: 1024, onBackendNote: (note) => notes.push(note) },
			reopen: () => Promise.resolve(cpu),
			...options,
		});
		return { engine, failing, cpu, notes };
	}

	test.each([
		[1, 0],
		[2, 0],
		[3, 0],
		[3, 5],
		[4, 1],
	])('at step %i, round %i: all requests go on with the same tokens on the CPU', async (failAt, round) => {
		const { engine, failing, cpu, notes } = setUp(failAt, {}, round);
		const prompts = [1, 2, 3].map((first) => Array.from({ length: 40 }, (_, i) => first * 100 + i));
		const seen: number[][] = prompts.map(() => []);
		const results = await Promise.all(
			prompts.map((tokens, i) =>
				engine.generate({
					...{ tokens, priority: 'chat', maxTokens: 12 },
					onToken: (token) => void seen[i]!.push(token),
				}),
			),
		);
		results.forEach(({ tokens }, i) => {
			expect(tokens).toEqual(expectedTokens(prompts[i]!, 12));
			expect(seen[i]).toEqual(tokens);
		});
		expect(failing.closed).toBe(true);
		expect(failing.batches.length).toBe(failAt);
		expect(notes).toEqual([expect.stringMatching(/^the CPU computes from here on: .*out of GPU memory$/)]);
		expect(engine.info.backendNote).toBe(notes[0]);
		// Later requests find what is cached on the CPU.
		const rows = cpu.rowsRun;
		const again = await engine.generate({ tokens: prompts[0]!, priority: 'chat', maxTokens: 2 });
		expect(again.tokens).toEqual(expectedTokens(prompts[0]!, 2));
		expect(cpu.rowsRun - rows).toBeLessThan(10);
		await engine.close();
		expect(cpu.closed).toBe(true);
	});

	test('a request cancelled meanwhile stays cancelled', async () => {
		const controller = new AbortController();
		const { engine } = setUp(3, {
			reopen: () => {
				controller.abort();
				return Promise.resolve(new FakeModel());
			},
		});
		const [cancelled, other] = await Promise.all([
			engine.generate({ tokens: [1, 2, 3], priority: 'chat', maxTokens: 9, signal: controller.signal }),
			engine.generate({ tokens: [4, 5, 6], priority: 'chat', maxTokens: 9 }),
		]);
		expect(cancelled.stopReason).toBe('canceled');
		expect(other.tokens).toEqual(expectedTokens([4, 5, 6], 9));
		await engine.close();
	});

	test('where the CPU cannot be had either, requests fail with both reasons', async () => {
		const { engine } = setUp(2, { reopen: () => Promise.reject(new Error('the file is gone')) });
		await expect(engine.generate({ tokens: [1, 2], priority: 'chat', maxTokens: 9 })).rejects.toThrow(
			/out of GPU memory; the model could not be opened on the CPU either: the file is gone/,
		);
		await engine.close();
	});

	test('an engine closed meanwhile closes both models', async () => {
		const cpu = new FakeModel();
		const { engine, failing } = setUp(2, {
			reopen: async () => {
				void engine.close();
				return cpu;
			},
		});
		await expect(engine.generate({ tokens: [1, 2], priority: 'chat', maxTokens: 9 })).rejects.toThrow(/unloaded/);
		await engine.close();
		await new Promise((resolve) => setImmediate(resolve));
		expect([failing.closed, cpu.closed]).toEqual([true, true]);
	});
});
