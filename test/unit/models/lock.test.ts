// Locks that are no locks, that nobody can read, or whose owners are gone or only seem to be gone.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
	utimesSync,
	writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ownIdentity, stateOf } from '../../../engine/machine/process-identity';
import { LockedError, takeLock } from '../../../engine/models/lock';
import { temporaryFolder } from '../../support/models';
import { needs, unix } from '../../support/needs';

const folder = temporaryFolder();
let file: string;
let number = 0;

beforeEach(() => {
	file = path.join(folder, `${number++}`, 'model.gguf.lock');
	mkdirSync(path.dirname(file));
});
afterEach(() => vi.restoreAllMocks());

const expectTaken = async (watch?: number) => {
	const release = await takeLock(file, { ...(watch !== undefined && { watch }) });
	expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ processId: process.pid });
	await release();
	expect(readdirSync(path.dirname(file))).toEqual([]);
};

describe('a lock', () => {
	test('is taken, held against others and given back, without a trace', async () => {
		const release = await takeLock(file);
		await expect(takeLock(file)).rejects.toThrow(LockedError);
		await expect(takeLock(file)).rejects.toThrow(`remove ${file}`);
		expect(readdirSync(path.dirname(file))).toEqual(['model.gguf.lock']);
		await release();
		await expectTaken();
	});

	test('of many that come at once one gets, each time', async () => {
		for (let round = 0; round < 5; round++) {
			writeFileSync(file, JSON.stringify({ processId: 2 ** 22 + 1, token: 'x' }));
			const results = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(file)));
			const taken = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
			expect(taken.length).toBe(1);
			await taken[0]?.();
		}
	});

	test('that somebody else has taken meanwhile is not taken away from them', async () => {
		const release = await takeLock(file);
		writeFileSync(file, 'theirs');
		await release();
		expect(readFileSync(file, 'utf8')).toBe('theirs');
	});

	test.each([-3_600_000, 3_600_000, -86_400_000 * 400])(
		'held by a living process is held with the clock set by %d ms',
		async (by) => {
			const release = await takeLock(file);
			const now = Date.now();
			vi.spyOn(Date, 'now').mockReturnValue(now + by);
			utimesSync(file, (now - by) / 1000, (now - by) / 1000);
			await expect(takeLock(file)).rejects.toThrow(LockedError);
			await release();
		},
	);
});

describe('what is no lock of ours is named, with what to do', () => {
	test('a folder', async () => {
		mkdirSync(file);
		await expect(takeLock(file)).rejects.toThrow(
			`the lock ${file} cannot be used (it is a folder); remove it and try again`,
		);
		expect(existsSync(file)).toBe(true);
	});

	test('a pipe', needs(unix), async () => {
		execFileSync('mkfifo', [file]);
		await expect(takeLock(file)).rejects.toThrow('(it is a pipe); remove it');
	});

	test.each(['nowhere', 'model.gguf.lock', '/dev/null', '.'])('a link to %s', needs(unix), async (target) => {
		symlinkSync(target, file);
		await expect(takeLock(file)).rejects.toThrow('(it is a link); remove it');
		expect(readdirSync(path.dirname(file))).toEqual(['model.gguf.lock']);
	});

	test('a folder that is a file', async () => {
		writeFileSync(file, '');
		const inside = path.join(file, 'model.gguf.lock');
		await expect(takeLock(inside)).rejects.toThrow(`the lock ${inside} cannot be written`);
	});

	test('a name that is too long', async () => {
		await expect(takeLock(path.join(folder, 'x'.repeat(250)))).rejects.toThrow('cannot be written');
	});
});

describe('a lock that was left behind is taken over', () => {
	test.each(['', '{', 'null', '[]', '7', '{"processId":"7"}', '\0\0\0\0', 'x'.repeat(100_000)])(
		'with %j in it',
		async (text) => {
			writeFileSync(file, text);
			await expectTaken();
		},
	);

	test('where such a one is still being written it is not', async () => {
		writeFileSync(file, '{"proc');
		const taken = takeLock(file, { watch: 2 ** 31 });
		let length = 1;
		const writing = setInterval(() => writeFileSync(file, '{"proc'.padEnd(length++)), 20);
		await expect(taken).rejects.toThrow(LockedError);
		clearInterval(writing);
	});

	test('by a process that has ended', async () => {
		const child = spawn(process.execPath, ['-e', '']);
		await once(child, 'exit');
		writeFileSync(file, JSON.stringify({ ...(await ownIdentity()), processId: child.pid }));
		await expectTaken();
	});

	test('by a process whose id another one has by now', needs(unix), async () => {
		for (const processId of [process.pid, process.ppid]) {
			writeFileSync(file, JSON.stringify({ ...(await ownIdentity()), processId, started: 'earlier' }));
			await expectTaken();
		}
	});

	test.each([0, 3_600_000, -3_600_000])(
		'by nobody who shows a sign of life, whatever the time of its last sign (%d ms)',
		async (by) => {
			const locks = [{ processId: process.ppid }, { processId: 1, machine: 'another one', started: 'once' }];
			for (const lock of locks) {
				writeFileSync(file, JSON.stringify(lock));
				const at = (Date.now() - 400_000 - by) / 1000;
				utimesSync(file, at, at);
				await expectTaken(300);
			}
		},
	);

	test('but not where it does show one, as a process on another machine', async () => {
		writeFileSync(file, JSON.stringify({ processId: 1, machine: 'another one', started: 'once' }));
		utimesSync(file, 1, 1);
		let second = 2;
		const signs = setInterval(() => utimesSync(file, second, second++), 20);
		await expect(takeLock(file, { watch: 2 ** 31 })).rejects.toThrow(LockedError);
		clearInterval(signs);
	});

	test('and nobody waits for that against their will', async () => {
		writeFileSync(file, JSON.stringify({ processId: process.ppid }));
		utimesSync(file, 1, 1);
		const stop = new AbortController();
		const taken = takeLock(file, { watch: 2 ** 31, signal: stop.signal });
		setTimeout(() => stop.abort(new Error('stop')), 50);
		await expect(taken).rejects.toThrow('stop');
		rmSync(file);
	});
});

test('a process is told from another one with its id', async () => {
	const own = await ownIdentity();
	expect(await stateOf(own)).toBe(process.platform === 'win32' ? 'unknown' : 'alive');
	expect(await stateOf({ ...own, machine: 'another one' })).toBe('unknown');
	expect(await stateOf({ ...own, processId: 2 ** 22 + 1 })).toBe('dead');
	for (const processId of [0, -1, 1.5, Number.NaN]) expect(await stateOf({ ...own, processId })).toBe('dead');
	expect(await stateOf({ processId: process.pid })).toBe('unknown');
});
