// Whether what a suggestion makes of a file is right, and if not, which stage of the pipeline is to blame.
import type { Edit } from '../../engine/completion/edit';
import { withPlainLineEnds } from '../../engine/completion/lines';
import { Nesting } from '../../engine/completion/nesting';
import type { Stage } from '../../engine/completion/trace';
import type { Position } from './positions';

/**
 * exact: the file is as it should be; lines: a beginning of what is missing, in whole lines that leave nothing open; open: whole
 * lines that leave something open which the rest of what is missing closes; torn: a beginning that ends inside a line; beyond: all
 * that is missing and more; differs: anything else; nothing: no suggestion.
 */
export const VERDICTS = ['exact', 'lines', 'open', 'torn', 'beyond', 'differs', 'nothing'] as const;
export type Verdict = (typeof VERDICTS)[number];

export const isRight = (verdict: Verdict): boolean => verdict === 'exact' || verdict === 'lines';

/** Of the edit applied to the file; undefined: there was no suggestion. */
export function verdictOf(position: Position, edit: Edit | undefined): Verdict {
	if (edit === undefined) return 'nothing';
	const { before, closers, tail } = position;
	if (/\r\n/.test(before + tail) && /(?<!\r)\n/.test(edit.text)) return 'differs';
	const inserted = insertedInto(before, edit.text + `${closers}${tail}`.slice(edit.replace), tail);
	if (inserted === undefined) return hasAll(position, edit.text) ? 'beyond' : 'differs';
	// What an editor closed by itself stands behind a part of the missing text.
	const withoutClosers = inserted.endsWith(closers) ? inserted.slice(0, inserted.length - closers.length) : inserted;
	const verdicts = [inserted, withoutClosers].map((text) => compare(text, position));
	return VERDICTS.find((verdict) => verdicts.includes(verdict))!;
}

/** What stands between `before` and `tail` in a file that begins with the one; undefined where it does not end with the other. */
function insertedInto(before: string, rest: string, tail: string): string | undefined {
	const text = withPlainLineEnds(before + rest);
	const start = withPlainLineEnds(before).length;
	const plain = withPlainLineEnds(tail);
	// White space that ends the cursor's line goes with what is covered.
	const end = [plain, plain.replace(/^[ \t]+(?=\n|$)/, '')].find(
		(each) => text.endsWith(each) && text.length - each.length >= start,
	);
	return end === undefined ? undefined : text.slice(start, text.length - end.length);
}

/** Whether a text that harms what stands after it has all that is missing. */
function hasAll({ missing }: Position, text: string): boolean {
	return withPlainLineEnds(text).startsWith(withPlainLineEnds(missing).trimEnd());
}

function compare(inserted: string, position: Position): Verdict {
	const missing = withoutLineEndSpace(withPlainLineEnds(position.missing)).trimEnd();
	const text = withoutLineEndSpace(inserted).trimEnd();
	if (text === missing) return 'exact';
	if (text.trim() === '') return 'nothing';
	if (text.startsWith(missing)) return 'beyond';
	if (!missing.startsWith(text)) return 'differs';
	const rest = missing.slice(text.length);
	if (!rest.startsWith('\n')) return 'torn';
	return leavesOpen(text, rest, position) ? 'open' : 'lines';
}

/** Nobody sees white space at the ends of lines. */
function withoutLineEndSpace(text: string): string {
	return text.replace(/[ \t]+(?=\n)/g, '');
}

/** Whether the rest closes what was opened in the cursor's line or in the text. */
function leavesOpen(text: string, rest: string, { before, languageId }: Position): boolean {
	const line = withPlainLineEnds(before).split('\n').at(-1)!;
	const nesting = Nesting.start(languageId, false).after(line + text);
	let closes = false;
	nesting.after(rest, () => {
		closes = true;
	});
	return nesting.open.length > 0 && (closes || nesting.inText);
}

/**
 * The stage that made a suggestion shorter than what is missing or, of a verdict "differs", another text; of "beyond": what
 * should have cut it and did not.
 * @param missing what the model was to write, in plain line ends.
 * @param stages the model's text first.
 */
export function blame(verdict: Verdict, missing: string, stages: readonly Stage[]): string {
	const whole = missing.trimEnd();
	const has = ({ text }: Stage) => text.trimEnd().startsWith(whole);
	const isPart = ({ text }: Stage) => whole.startsWith(text.trimEnd());
	if (verdict === 'beyond') return stages.at(-1)?.text.trimEnd() === whole ? 'edit' : 'not cut';
	const at = stages.findIndex((stage) => !has(stage) && (verdict !== 'differs' || !isPart(stage)));
	if (at === -1) return 'edit';
	// A stop rule ends the generation, too: then the model's own text is short already.
	const stage = at === 0 ? stages.find(({ name }) => name.startsWith('stop rule')) : stages[at];
	return stage?.name ?? 'no more tokens';
}
