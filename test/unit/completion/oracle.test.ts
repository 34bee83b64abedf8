// Tests stop rules and filters with a model that knows the file. A piece is taken out of a file, and the model writes
// that piece and the rest of the file. The suggestion must bring the piece back, or its beginning.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { randomNumbers } from '../../../bench/completions/random';
import { Fit } from '../../../engine/completion/fit';
import { allowsMultiline, StopRule } from '../../../engine/completion/stop-rules';
import { suggestionFrom } from '../../../engine/completion/suggestion';
import { cutWindow } from '../../../engine/completion/window';
import { SNIPPETS } from './snippets';

/** The most characters that the model writes, and the characters of one of its tokens. */
const MAX_WRITTEN = 1200;
const TOKEN = 4;

interface Place {
	languageId: string;
	before: string;
	/** The piece that was taken out. */
	piece: string;
	after: string;
}

/** The text in place of the piece once the suggestion is accepted, or undefined if the text after it was damaged. */
function insertedAt({ languageId, before, piece, after }: Place, setting: 'never' | 'always'): string | undefined {
	const window = cutWindow({ before, after }, { prefixTokens: 1024, suffixTokens: 256 });
	const multiline = allowsMultiline(setting, languageId, window);
	const stop = new StopRule(window, multiline, languageId);
	const whole = piece + after;
	let length = 0;
	while (length < Math.min(whole.length, MAX_WRITTEN) && stop.end(whole.slice(0, length)) === undefined)
		length += TOKEN;
	const written = whole.slice(0, length);
	const cutShort = length >= MAX_WRITTEN && stop.end(written) === undefined;
	const { text } = suggestionFrom(written, stop, cutShort, { languageId, window, multiline });
	const edit = new Fit(window, languageId).edit(text);
	const file = before + edit.text + after.slice(edit.replace);
	// The edit may also cover white space at the line's end.
	const rest = after.slice(0, edit.replace).trim() === '' ? after.slice(edit.replace) : after;
	if (!file.endsWith(rest) || file.length < before.length + rest.length) return undefined;
	return file.slice(before.length, file.length - rest.length).trimEnd();
}

/** Pieces from every place within a line to the line's end, and to `ends` places within the line. */
function midLinePlaces(languageId: string, text: string, ends: (from: number, lineEnd: number) => number[]): Place[] {
	const places: Place[] = [];
	for (let from = 0; from < text.length; from++) {
		const lineEnd = text.indexOf('\n', from);
		const left = text.slice(text.lastIndexOf('\n', from - 1) + 1, from);
		if (left.trim() === '' || lineEnd <= from) continue;
		for (const to of new Set([lineEnd, ...ends(from, lineEnd)])) {
			const piece = text.slice(from, to);
			if (piece.trim() !== '') places.push({ languageId, before: text.slice(0, from), piece, after: text.slice(to) });
		}
	}
	return places;
}

/** Pieces from every place to the end of one of the lines after it. */
function linesPlaces(languageId: string, text: string, count: (from: number) => number): Place[] {
	const places: Place[] = [];
	for (let from = 0; from < text.length; from++) {
		let to = from - 1;
		for (let i = count(from); i >= 0 && to < text.length; i--)
			to = (text.indexOf('\n', to + 1) + 1 || text.length + 1) - 1;
		const piece = text.slice(from, to);
		if (piece.trim() !== '') places.push({ languageId, before: text.slice(0, from), piece, after: text.slice(to) });
	}
	return places;
}

/** Describes a failure: the text with the cursor as ‸, the model's text, and the inserted text. */
const describePlace = ({ before, piece, after }: Place, inserted: string | undefined) =>
	`${before.slice(-80)}‸${after.slice(0, 60)} | ${piece} | ${inserted}`;

const failuresOf = (
	places: readonly Place[],
	isRight: (place: Place, inserted: string | undefined) => boolean,
	setting: 'never' | 'always',
) =>
	places
		.map((place) => [place, insertedAt(place, setting)] as const)
		.filter(([place, inserted]) => !isRight(place, inserted))
		.map(([place, inserted]) => describePlace(place, inserted));

const isAll = ({ piece }: Place, inserted: string | undefined) => inserted === piece.trimEnd();
const isBeginning = ({ piece }: Place, inserted: string | undefined) =>
	inserted !== undefined && piece.startsWith(inserted);

describe.each(SNIPPETS)('%s', (languageId, text) => {
	const random = randomNumbers(7);

	test('the rest of a line comes back whole', () => {
		const places = midLinePlaces(languageId, text, (from, lineEnd) => [from + 1 + random(lineEnd - from)]);
		expect(places.length).toBeGreaterThan(200);
		expect(failuresOf(places, isAll, 'never')).toEqual([]);
	});

	test('of several lines a beginning comes back', () => {
		expect(
			failuresOf(
				linesPlaces(languageId, text, () => random(8)),
				isBeginning,
				'always',
			),
		).toEqual([]);
	});

	test('where nothing stands after it, too', () => {
		const places = midLinePlaces(languageId, text, () => []).map((place) => ({ ...place, after: '' }));
		expect(failuresOf(places, isAll, 'never')).toEqual([]);
	});
});

test("of this repository's own sources, 99.8 % of places within a line come back whole", () => {
	const root = path.join(__dirname, '../../..');
	const files = ['engine', 'extension', 'native', 'webview'].flatMap((folder) =>
		readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
			.filter((file) => /\.(?:ts|cpp|h|css|html|metal)$/.test(file))
			.map((file) => path.join(root, folder, file)),
	);
	const languages: Record<string, string> = { '.ts': 'typescript', '.css': 'css', '.html': 'html' };
	const random = randomNumbers(11);
	const places: Place[] = [];
	while (places.length < 3000) {
		const file = files[random(files.length)]!;
		const text = readFileSync(file, 'utf8');
		const from = random(text.length);
		const lineEnd = text.indexOf('\n', from);
		const left = text.slice(text.lastIndexOf('\n', from - 1) + 1, from);
		if (left.trim() === '' || lineEnd <= from) continue;
		const to = random(3) > 0 ? lineEnd : from + 1 + random(lineEnd - from);
		const piece = text.slice(from, to);
		if (piece.trim() === '') continue;
		const languageId = languages[path.extname(file)] ?? 'cpp';
		places.push({ languageId, before: text.slice(0, from), piece, after: text.slice(to) });
	}
	expect(failuresOf(places, isAll, 'never').slice(6)).toEqual([]);
});
