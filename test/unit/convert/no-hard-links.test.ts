// A file system without hard links, such as exFAT. A new file takes its name there, too, and never replaces another
// one.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { outputTarget, PartialFile, writeOutputFile } from '../../../engine/files/output-file';
import { temporaryFolder } from '../../support/models';

vi.mock('node:fs/promises', async (original) => ({
	...(await original<typeof import('node:fs/promises')>()),
	link: () => Promise.reject(Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' })),
}));

const folder = temporaryFolder();
const name = path.join(folder, 'file');

test('a new file gets its name, and one that has come meanwhile keeps it', async () => {
	await writeOutputFile(await outputTarget(name), 'ours');
	expect(readFileSync(name, 'utf8')).toBe('ours');

	const other = path.join(folder, 'other');
	const partial = await PartialFile.create(await outputTarget(other));
	writeFileSync(other, 'theirs');
	await expect(partial.place()).rejects.toThrow(`${other} has appeared while it was made`);
	await partial.discard();
	expect(readFileSync(other, 'utf8')).toBe('theirs');
	expect(readdirSync(folder).sort()).toEqual(['file', 'other']);
});
