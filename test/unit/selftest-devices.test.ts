// The list of devices: how the engine names the existing devices, and a self-test on a machine with a GPU that does not
// exist yet.
import path from 'node:path';
import { expect, test } from 'vitest';
import { isSelfTest, renderSelfTest, selfTestSummary } from '../../engine/selftest/render';
import { runSelfTest } from '../../engine/selftest/selftest';
import { readVerdict } from '../../engine/selftest/verdict';
import { SETTINGS } from '../../engine/settings';
import { gpuName } from '../../engine/units';
import { type Device, type KernelCheck, loadNative, type Native } from '../../native/index';
import { temporaryFolder } from '../support/models';

process.env['HEARTH_STATE'] = path.join(temporaryFolder(), 'state');

test('the engine has a word for every device of the addon', () => {
	const devices = loadNative().devices();
	expect(SETTINGS.backend.choices).toEqual(['auto', ...devices.map(({ id }) => id)]);
	expect(devices.at(-1)).toEqual({ id: 'cpu', kind: 'cpu', name: 'CPU', onThisSystem: true });
	for (const { id, kind, name } of devices) expect(gpuName(id)).toBe(kind === 'gpu' ? name : undefined);
	expect(gpuName(undefined)).toBeUndefined();
});

test('a second GPU is tested, judged and reported under its own name', async () => {
	const real = loadNative();
	const vulkan = {
		id: 'vulkan',
		kind: 'gpu',
		name: 'Vulkan',
		hardware: 'Arc',
		onThisSystem: true,
	} as unknown as Device;
	const broken = {
		id: 'broken',
		kind: 'gpu',
		name: 'Broken',
		onThisSystem: true,
		reason: 'no driver',
	} as unknown as Device;
	let wrong = true;
	const native: Native = {
		...{ readGguf: real.readGguf, cpuInfo: real.cpuInfo },
		devices: () => [vulkan, broken, ...real.devices().filter(({ kind }) => kind === 'cpu')],
		selfTest: async ({ backend, report }) => {
			const measured = { shape: '3 rows', error: 0, tolerance: 1, milliseconds: 1, bytes: 1, operations: 1 };
			const set = backend === 'cpu' ? 'portable' : 'Arc';
			const ok = backend === 'cpu' || !wrong;
			report({ backend, set, kernel: 'norm', ...measured, ok, ...(!ok && { problem: 'off' }) } satisfies KernelCheck);
		},
		openModel: async (file, options = {}) => {
			const model = await real.openModel(file, { ...options, backend: 'cpu' });
			const info = { ...model.info, backend: options.backend === 'cpu' ? 'cpu' : vulkan.id };
			return new Proxy(model, {
				get: (target, key) => {
					const value = key === 'info' ? info : Reflect.get(target, key);
					return typeof value === 'function' ? value.bind(target) : value;
				},
			});
		},
	};
	// The CPU's kernels stand in for the GPU's. Whole models therefore differ from the reference by more than a GPU may.
	const off = await runSelfTest({ backend: 'auto', quick: true, native });
	expect(new Set(off.models.map(({ backend }) => backend))).toEqual(new Set(['cpu', 'vulkan']));
	expect(off.gpus).toEqual([
		{
			id: 'vulkan',
			name: 'Vulkan',
			device: 'Arc',
			state: 'off',
			reason: expect.stringMatching(/checks of Vulkan wrong/),
		},
		{ id: 'broken', name: 'Broken', state: 'absent', reason: 'no driver' },
	]);
	expect(readVerdict(vulkan)?.reason).toBe(off.gpus[0]?.reason);
	expect(selfTestSummary(off)).toMatch(
		/ Vulkan is turned off: the CPU computes until a self-test passes, or the backend is set to "vulkan". Broken is not used: no driver.$/,
	);
	expect(renderSelfTest(off)).toMatch(
		/\n- GPU: Arc\n- the CPU's portable kernels: 1 of 1 right\n- Vulkan on Arc: 0 of 1 right\n/,
	);
	for (const text of [renderSelfTest(off), JSON.stringify(off)]) expect(isSelfTest(text)).toBe(true);

	wrong = false;
	const cpuOnly = await runSelfTest({ backend: 'cpu', quick: true, native });
	expect(cpuOnly.gpus.map(({ state }) => state)).toEqual(['untested', 'absent']);
	expect(readVerdict(vulkan)).toBeDefined();
});

test('a report of an earlier version is one, too', () => {
	expect(isSelfTest(JSON.stringify({ kernels: [], models: [], metal: { state: 'absent' } }))).toBe(true);
	expect(isSelfTest(JSON.stringify({ kernels: [], models: [] }))).toBe(false);
});
