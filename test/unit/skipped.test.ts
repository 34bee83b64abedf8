// A test that does not run says why (test/support/needs.ts), and skipped tests are counted by their reasons
// (scripts/skipped.mjs).
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { skippedTests } from '../../scripts/skipped.mjs';
import { temporaryFolder } from '../support/models';

const root = path.resolve(import.meta.dirname, '..', '..');
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');

const SUITES = `
import { describe, expect, it, test } from 'vitest';
import { needs, skipNow } from ${JSON.stringify(path.join(root, 'test', 'support', 'needs.ts'))};
const amx = { met: false, reason: 'no amx on this processor' };
const zig = { met: false, reason: 'no Zig', cure: 'install it' };
const here = { met: true, reason: 'never told' };
test('runs', needs(here), () => expect(1).toBe(1));
describe('a suite', needs(here, zig), () => {
	test('in a suite', () => expect(1).toBe(2));
	describe('deeper', () => test.each([1, 2])('%i', () => expect(1).toBe(2)));
});
test.each([1, 2])('hardware %i', needs(amx, zig), () => expect(1).toBe(2));
it('begun', (context) => skipNow(context, 'too late'));
it.skip('bare', () => {});
`;

test('skipped tests are counted by their reasons; what can be installed is told apart from hardware', () => {
	const folder = temporaryFolder();
	const file = path.join(folder, 'suites.test.ts');
	writeFileSync(file, SUITES);
	const report = path.join(folder, 'report.json');
	const args = ['run', '--root', folder, '--reporter=json', `--outputFile=${report}`];
	execFileSync(process.execPath, [vitest, ...args], { cwd: root, stdio: 'pipe' });
	expect(skippedTests([JSON.parse(readFileSync(report, 'utf8'))])).toEqual({
		count: 7,
		reasons: ['3 no Zig', '2 no amx on this processor', '1 too late', '1 for no stated reason'],
		curable: ['3 no Zig: install it', '1 for no stated reason: see test/support/needs.ts'],
	});
});

test('several reports are one sum, and failures are none of it', () => {
	const of = (...assertionResults: { status: string; meta?: object }[]) => ({ testResults: [{ assertionResults }] });
	const unmet = { unmet: { reason: 'no Zig', cure: 'install it' } };
	const reports = [
		of({ status: 'passed' }, { status: 'skipped', meta: unmet }),
		of({ status: 'failed' }, { status: 'skipped', meta: unmet }),
	];
	expect(skippedTests(reports)).toEqual({ count: 2, reasons: ['2 no Zig'], curable: ['2 no Zig: install it'] });
	expect(skippedTests([])).toEqual({ count: 0, reasons: [], curable: [] });
});
