// A model's file is cut, overwritten or replaced while the model is in use. Requests then fail with an error that names
// the file, the model is unloaded with the reason, everything else goes on, and the file works again once it is put
// back.
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadNative } from '../../native/index';
import { type Change, type ChangeOutcome, changes, type Moment, moments } from '../support/change-file';
import { runChild } from '../support/child';
import { makeDraftHead } from '../support/draft-head';
import { makeModel, temporaryFolder } from '../support/models';
import { needs, unix } from '../support/needs';

const folder = temporaryFolder();
const scratch = path.join(folder, 'changed.gguf');

/** After these changes the mapped file stays as it was. */
const HARMLESS: Change[] = ['replaced', 'recreated', 'deleted'];
const CHANGED = `the model file changed while in use: ${scratch} was `;

// Windows lets nobody cut or replace a file that is mapped.
test('each change at each moment', needs(unix), async () => {
	const shape = { layers: 4, embedding: 64, feedForward: 64, heads: 4, headsKv: 2, headLength: 32, experts: 8 };
	const file = await makeModel(folder, 'model', shape);
	const other = await makeModel(folder, 'other', shape, 2);
	const model = await loadNative().openModel(file, { threads: 1 });
	const head = await makeDraftHead(folder, file, { embedding: 64, vocabulary: model.info.vocabularySize });
	model.close();

	const cases = moments.flatMap((moment) =>
		(Object.keys(changes) as Change[]).map((change) => [moment, change] as const),
	);
	const child = await runChild('change-file.ts', [file, other, head, scratch], JSON.stringify(cases));
	const lines = child.stdout.trim().split('\n').filter(Boolean);
	const culprit = JSON.stringify(cases[lines.length]);
	expect(child.code, `ended with ${child.signal ?? child.code} at ${culprit}: ${child.stderr}`).toBe(0);
	const outcomes = lines.map((line) => JSON.parse(line) as ChangeOutcome);
	expect(outcomes).toHaveLength(cases.length);

	for (const [i, { errors, state, reason, again, meanwhile }] of outcomes.entries()) {
		const [moment, change] = cases[i]! as [Moment, Change];
		const context = `${change} while ${moment}: ${JSON.stringify(outcomes[i])}`;
		expect(meanwhile, context).toBe(true);
		// A file that was whole when it was loaded stays in use when another file takes its place.
		if (moment !== 'loading' || state === 'error') expect(again, context).toBe(true);
		if (moment === 'header' || moment === 'loading') {
			// The change may have come before or after the read. The file was then refused by name, or the first step noticed
			// the change.
			for (const error of errors) if (error !== null) expect(error, context).toContain(scratch);
			// Bytes that were appended before the file was opened do no harm: no tensor has them.
			const whole = [...HARMLESS, 'appended'].includes(change);
			if (moment === 'loading' && !whole) expect(state, context).toBe('error');
			continue;
		}
		if (HARMLESS.includes(change)) {
			expect(errors.every((error) => error === null) && state === 'ready', context).toBe(true);
			continue;
		}
		// When the model was unloaded at once while nobody waited, no request was made.
		for (const error of errors) expect(error, context).toContain(CHANGED);
		if (moment !== 'repacking') expect(errors.length, context).toBeGreaterThan(0);
		expect(state, context).toBe('error');
		expect(reason, context).toContain(CHANGED);
		expect(child.stderr).toContain(`unloaded ${moment === 'draft head' ? file : scratch}: ${CHANGED}`);
	}
});
