// What trials add up to: shares of verdicts by kind, language and variant, which stage is to blame for what, and how that differs from
// an earlier run.
import { table } from '../../engine/text-table';
import type { Trial } from './oracle';
import { isRight, VERDICTS, type Verdict } from './verdict';

/** How often there was each verdict. */
export type Counts = Record<Verdict, number>;

export interface Report {
	layer: 'oracle';
	seed: number;
	positions: number;
	sources: string[];
	all: Counts;
	byKind: Record<string, Counts>;
	byLanguage: Record<string, Counts>;
	byVariant: Record<string, Counts>;
	/** Of verdicts other than "exact", the stage to blame. */
	byCause: Record<string, Counts>;
}

/** A report, and the verdict of each trial by its name, for `--compare`. */
export interface Saved {
	report: Report;
	trials: Record<string, Verdict>;
}

export function reportOf(trials: readonly Trial[], about: Pick<Report, 'seed' | 'positions' | 'sources'>): Report {
	return {
		...{ layer: 'oracle', ...about, all: countsOf(trials) },
		byKind: groups(trials, ({ position }) => position.kind),
		byLanguage: groups(trials, ({ position }) => position.languageId),
		byVariant: groups(trials, ({ variant }) => variant),
		byCause: groups(
			trials.filter(({ cause }) => cause !== undefined),
			({ cause }) => cause!,
		),
	};
}

export function savedFrom(report: Report, trials: readonly Trial[]): Saved {
	return { report, trials: Object.fromEntries(trials.map((trial) => [nameOf(trial), trial.verdict])) };
}

function nameOf({ position, variant }: Trial): string {
	return `${position.place} ${position.kind} ${position.closers === '' ? '' : 'closed '}${variant}`;
}

function groups(trials: readonly Trial[], keyOf: (trial: Trial) => string): Record<string, Counts> {
	const byKey = new Map<string, Trial[]>();
	for (const trial of trials) {
		const key = keyOf(trial);
		const group = byKey.get(key);
		if (group) group.push(trial);
		else byKey.set(key, [trial]);
	}
	return Object.fromEntries([...byKey].map(([key, group]) => [key, countsOf(group)]));
}

function countsOf(trials: readonly Trial[]): Counts {
	const counts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Counts;
	for (const { verdict } of trials) counts[verdict]++;
	return counts;
}

const sum = (counts: Counts) => VERDICTS.reduce((total, verdict) => total + counts[verdict], 0);
const rightIn = (counts: Counts) => VERDICTS.filter(isRight).reduce((total, verdict) => total + counts[verdict], 0);
const percent = (part: number, whole: number) => (whole === 0 ? '–' : ((100 * part) / whole).toFixed(1));

/** The report as Markdown. */
export function reportText(report: Report): string {
	const { seed, positions, sources, all, byKind, byLanguage, byVariant, byCause } = report;
	const shares = (title: string, counts: Record<string, Counts>) =>
		table([
			[title, 'trials', 'right', ...VERDICTS],
			...Object.entries(counts).map(([key, each]) => [
				key,
				String(sum(each)),
				`${percent(rightIn(each), sum(each))} %`,
				...VERDICTS.map((verdict) => percent(each[verdict], sum(each))),
			]),
		]).join('\n');
	const blamed = VERDICTS.filter((verdict) => verdict !== 'exact');
	const causes = Object.entries(byCause).sort(([, a], [, b]) => sum(b) - rightIn(b) - (sum(a) - rightIn(a)));
	return [
		`Oracle: ${positions} positions, seed ${seed}, of ${sources.join(', ')}`,
		'Right is "exact" and "lines". Shares of verdicts in %.',
		shares('all', { all }),
		shares('kind', byKind),
		shares('language', byLanguage),
		shares('the model', byVariant),
		'What shortened, changed or failed to cut the text, in trials:',
		table([
			['cause', ...blamed],
			...causes.map(([cause, counts]) => [cause, ...blamed.map((verdict) => String(counts[verdict]))]),
		]).join('\n'),
	].join('\n\n');
}

/** What is better and what is worse than in an earlier run, on the trials that both have. */
export function comparisonText(earlier: Saved, trials: readonly Trial[]): string {
	const before = (trial: Trial) => earlier.trials[nameOf(trial)];
	const shared = trials.filter((trial) => before(trial) !== undefined);
	const rows = (title: string, keyOf: (trial: Trial) => string): string[][] => {
		const now = groups(shared, keyOf);
		const then = groups(
			shared.map((trial) => ({ ...trial, verdict: before(trial)! })),
			keyOf,
		);
		return Object.keys(now).flatMap((key) => {
			const [was, is] = [then[key]!, now[key]!].map((counts) => percent(rightIn(counts), sum(counts)));
			return was === is ? [] : [[`${title}: ${key}`, `${was} %`, `${is} %`]];
		});
	};
	const better = shared.filter((trial) => isRight(trial.verdict) && !isRight(before(trial)!));
	const worse = shared.filter((trial) => !isRight(trial.verdict) && isRight(before(trial)!));
	return [
		`Compared with the earlier run: ${shared.length} trials in common, ${better.length} right by now that were wrong, ${worse.length} wrong that were right.`,
		table([
			['right', 'before', 'now'],
			...rows('all', () => 'trials'),
			...rows('kind', ({ position }) => position.kind),
			...rows('language', ({ position }) => position.languageId),
			...rows('the model', ({ variant }) => variant),
		]).join('\n'),
		...worse.slice(0, MAX_WORSE).map((trial) => `worse: ${nameOf(trial)}: ${before(trial)} → ${trial.verdict}`),
	].join('\n\n');
}

/** Trials that have become wrong, of which so many are named. */
const MAX_WORSE = 10;
/** Characters around the cursor that an example shows. */
const SHOWN_BEFORE = 160;
const SHOWN_AFTER = 80;

/** Up to `count` trials of each wrong verdict and cause: the place, what is missing, what the model wrote, and what was shown. */
export function examplesText(trials: readonly Trial[], count: number): string {
	const byFault = new Map<string, Trial[]>();
	for (const trial of trials) {
		if (isRight(trial.verdict)) continue;
		const fault = `${trial.verdict}, ${trial.cause}`;
		const examples = byFault.get(fault) ?? [];
		if (examples.length < count && examples.every(({ position }) => position !== trial.position))
			byFault.set(fault, [...examples, trial]);
	}
	return [...byFault]
		.map(([fault, examples]) => `## ${fault}\n\n${examples.map(exampleText).join('\n\n')}`)
		.join('\n\n');
}

function exampleText({ position, variant, written, shown }: Trial): string {
	const { before, closers, tail, missing, place, kind } = position;
	return [
		`${place} (${kind}; the model ${variant})`,
		`${before.slice(-SHOWN_BEFORE)}‸${`${closers}${tail}`.slice(0, SHOWN_AFTER)}`,
		`missing: ${JSON.stringify(missing)}`,
		`written: ${JSON.stringify(written.slice(0, missing.length + SHOWN_AFTER))}`,
		`shown:   ${JSON.stringify(shown)}`,
	].join('\n');
}
