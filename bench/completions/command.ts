// The command behind `npm run bench:completions`: which positions are tried, and what is printed.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { quote } from '../../engine/quote';
import { DEFAULT_SETTINGS } from '../../engine/server/settings';
import { Oracle, type Trial, variantsAt } from './oracle';
import { KINDS, type Kind, type Position, positionIn } from './positions';
import { randomNumbers } from './random';
import { comparisonText, examplesText, reportOf, reportText, type Saved, savedFrom } from './report';
import { readSources, type Source, type SourceFile } from './sources';
import { StandIn } from './stand-in';

export const USAGE = `usage: npm run bench:completions [-- OPTIONS]
  --layer oracle     a model that knows the file, through the whole pipeline (the default, and the only one so far)
  --sources DIR      code to take positions from (default: pinned packages of five registries, and this repository)
  --positions N      how many positions, each with three variants of the model (default: 3000)
  --language ID      only this language, by VS Code's identifier; may be given again
  --kind KIND        only this kind of position; may be given again. There are: ${KINDS.join(', ')}
  --seed N           another choice of positions (default: 1)
  --examples N       print so many failures of each sort
  --json             print the report as JSON
  --save FILE        write the report and each verdict into a file
  --compare FILE     say what differs from such a file`;

/** Files that are looked at for a position before a kind counts as missing in a language. */
const MAX_TRIES = 24;

/**
 * @param args as on the command line.
 * @param defaultSources called where no folder is given.
 * @throws a one-line error naming the option at fault.
 */
export async function benchCompletions(
	args: readonly string[],
	defaultSources: () => Promise<Source[]>,
	print: (text: string) => void,
): Promise<void> {
	const { values } = parseArgs({
		args: [...args],
		options: {
			layer: { type: 'string', default: 'oracle' },
			sources: { type: 'string' },
			positions: { type: 'string', default: '3000' },
			language: { type: 'string', multiple: true },
			kind: { type: 'string', multiple: true },
			seed: { type: 'string', default: '1' },
			examples: { type: 'string', default: '0' },
			json: { type: 'boolean', default: false },
			save: { type: 'string' },
			compare: { type: 'string' },
			help: { type: 'boolean', default: false },
		},
	});
	if (values.help) {
		print(USAGE);
		return;
	}
	if (values.layer !== 'oracle') throw new Error(`--layer ${quote(values.layer)} is unknown; there is oracle`);
	const count = wholeNumber('positions', values.positions);
	const seed = wholeNumber('seed', values.seed);
	const examples = wholeNumber('examples', values.examples);
	const kinds = oneOf('kind', values.kind, KINDS);
	const earlier = values.compare === undefined ? undefined : readSaved(values.compare);
	const sources =
		values.sources === undefined
			? await defaultSources()
			: [{ name: path.basename(path.resolve(values.sources)), folder: values.sources }];
	const files = readSources(sources);
	const languages = oneOf('language', values.language, [...new Set(files.map(({ languageId }) => languageId))].sort());

	const positions = choosePositions(files, languages, kinds, count, seed);
	if (positions.length === 0) throw new Error('there is no such position in the sources; give another --sources');
	const oracle = new Oracle(await StandIn.open(), DEFAULT_SETTINGS.completion);
	const trials: Trial[] = [];
	for (const position of positions)
		for (const variant of variantsAt(position)) trials.push(await oracle.try(position, variant));

	const report = reportOf(trials, {
		...{ seed, positions: positions.length },
		sources: sources.map(({ name }) => name),
	});
	print(values.json ? JSON.stringify(report, undefined, '\t') : reportText(report));
	if (examples > 0) print(examplesText(trials, examples));
	if (earlier) print(comparisonText(earlier, trials));
	if (values.save !== undefined) writeFileSync(values.save, JSON.stringify(savedFrom(report, trials)));
}

/** In turn of each language, and of each kind within it, so that rare ones count as much as frequent ones. */
export function choosePositions(
	files: readonly SourceFile[],
	languages: readonly string[],
	kinds: readonly Kind[],
	count: number,
	seed: number,
): Position[] {
	const random = randomNumbers(seed);
	const byLanguage = languages.map((language) => ({
		files: files.filter(({ languageId }) => languageId === language),
		kinds: [...kinds],
		next: 0,
	}));
	const positions: Position[] = [];
	while (positions.length < count && byLanguage.some((each) => each.kinds.length > 0)) {
		for (const each of byLanguage) {
			if (positions.length === count || each.kinds.length === 0) continue;
			const kind = each.kinds[each.next++ % each.kinds.length]!;
			let position: Position | undefined;
			for (let tries = 0; tries < MAX_TRIES && !position; tries++)
				position = positionIn(each.files[random(each.files.length)]!, kind, random);
			if (position) positions.push(position);
			else each.kinds = each.kinds.filter((other) => other !== kind);
		}
	}
	return positions;
}

function wholeNumber(option: string, text: string): number {
	if (!/^\d{1,9}$/.test(text)) throw new Error(`--${option} takes a whole number, not ${quote(text)}`);
	return Number(text);
}

function oneOf<T extends string>(
	option: string,
	given: readonly string[] | undefined,
	all: readonly T[],
): readonly T[] {
	const unknown = given?.find((each) => !(all as readonly string[]).includes(each));
	if (unknown !== undefined)
		throw new Error(`--${option} ${quote(unknown)} is unknown here; there are: ${all.join(', ')}`);
	return given === undefined ? all : all.filter((each) => given.includes(each));
}

function readSaved(file: string): Saved {
	const saved = JSON.parse(readFileSync(file, 'utf8')) as Partial<Saved>;
	if (saved.report?.layer !== 'oracle' || saved.trials === undefined)
		throw new Error(`--compare: ${file} was not written by --save`);
	return saved as Saved;
}
