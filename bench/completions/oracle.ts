// The oracle layer: a model that knows the file writes what is missing at a position, and the real pipeline makes an edit of it. What
// is wrong afterwards is the pipeline's fault alone.
import { Completer } from '../../engine/completion/completer';
import { withPlainLineEnds } from '../../engine/completion/lines';
import { Nesting } from '../../engine/completion/nesting';
import type { Formatting } from '../../engine/completion/postprocess/filter';
import { syntaxOf } from '../../engine/completion/syntax';
import { isTelling } from '../../engine/completion/telling';
import { TokenPrefixIndex } from '../../engine/completion/token-healing';
import type { Stage } from '../../engine/completion/trace';
import type { EngineSettings } from '../../engine/settings';
import type { Position } from './positions';
import { type Random, randomNumbers } from './random';
import type { StandIn } from './stand-in';
import { blame, type Verdict, verdictOf } from './verdict';

/** What a model that misses the end writes behind the missing text. */
const OVERSHOTS = {
	'indents differently': (_: string, tail: string) =>
		tail.replace(/^[ \t]+/gm, (white) => (white.startsWith('\t') ? '  '.repeat(white.length) : `${white}${white}`)),
	'repeats a line': (before: string) => {
		const last = before.trimEnd().split('\n').findLast(isTelling) ?? '';
		return `\n${last}\n${last}\n`;
	},
	'closes too much': (before: string, _: string, random: Random, languageId: string) => {
		const closers = superfluousClosers(before, languageId);
		return closers[random(closers.length)]!;
	},
};
type Overshot = keyof typeof OVERSHOTS;

/** What the model does behind the missing text: it ends, it writes on into the text after the cursor, or it misses the end. */
export type Variant = 'stops' | 'goes on' | Overshot;

/** The variants that a position is tried with: one of each sort. */
export function variantsAt({ before }: Position): Variant[] {
	const overshots = Object.keys(OVERSHOTS) as Overshot[];
	return ['stops', 'goes on', overshots[randomNumbers(before.length)(overshots.length)]!];
}

export interface Trial {
	position: Position;
	variant: Variant;
	verdict: Verdict;
	/** The stage to blame; absent where the verdict is exact. */
	cause?: string;
	written: string;
	/** The edit's text; absent where there was no suggestion. */
	shown?: string;
}

export class Oracle {
	readonly #standIn: StandIn;
	readonly #settings: EngineSettings['completion'];
	readonly #completer: Completer;
	#trials = 0;

	constructor(standIn: StandIn, settings: EngineSettings['completion']) {
		this.#standIn = standIn;
		this.#settings = settings;
		this.#completer = new Completer(standIn.model, new TokenPrefixIndex(standIn.model.tokenizer.vocabulary));
	}

	async try(position: Position, variant: Variant): Promise<Trial> {
		const { before, closers, tail, languageId, label } = position;
		const missing = missingFor(position, variant);
		const written = `${missing}${textBehind(position, variant)}`;
		this.#standIn.text = written;
		const stages: Stage[] = [];
		const result = await this.#completer.complete({
			// Each trial has a document of its own, so that none is answered from another's suggestion.
			document: `trial:${this.#trials++}`,
			...{ label, languageId, before, after: `${closers}${tail}`, invoked: false, settings: this.#settings },
			formatting: formattingOf(`${before}${position.missing}${tail}`),
			trace: (stage) => stages.push(stage),
			signal: new AbortController().signal,
		});
		if (result.outcome === 'failed') throw new Error(`${position.place}: ${result.reason}`);
		const edit = result.outcome === 'shown' ? result.edit : undefined;
		const verdict = verdictOf(position, edit);
		return {
			...{ position, variant, verdict, written },
			...(verdict !== 'exact' && { cause: blame(verdict, missing, stages) }),
			...(edit && { shown: edit.text }),
		};
	}
}

/** A model that ends by itself leaves to the text after the cursor what stands there already. */
function missingFor({ missing, closers }: Position, variant: Variant): string {
	const text = withPlainLineEnds(missing);
	return variant === 'stops' && text.endsWith(closers) ? text.slice(0, text.length - closers.length) : text;
}

function textBehind(position: Position, variant: Variant): string {
	if (variant === 'stops') return '';
	const tail = withPlainLineEnds(position.tail);
	if (variant === 'goes on') return tail;
	const random = randomNumbers(position.before.length + 1);
	return OVERSHOTS[variant](
		...([withPlainLineEnds(position.before + position.missing), tail, random, position.languageId] as const),
	);
}

/** What closes nothing behind a text. In prose, where brackets mean nothing, they stand on a line of their own. */
function superfluousClosers(before: string, languageId: string): string[] {
	const { tags, lineComments } = syntaxOf(languageId);
	if (tags === 'text') return ['</div>', '\n</div>'];
	const line = before.slice(before.lastIndexOf('\n') + 1);
	const isComment =
		lineComments.some((begin) => line.includes(begin)) || Nesting.start(languageId, true).after(before).inText;
	return isComment ? ['\n}', '\n)'] : [')', '}', ']', '\n}', '\n)', ');'];
}

/** As an editor that looks at the file finds it, with VS Code's defaults where the file does not tell. */
function formattingOf(text: string): Formatting {
	const tabs = text.match(/^\t/gm)?.length ?? 0;
	const widths = [...text.matchAll(/^ {2,}(?=\S)/gm)].map(([white]) => white.length);
	if (tabs > widths.length) return { tabSize: 4, insertSpaces: false };
	const steps = new Map<number, number>();
	widths.forEach((width, i) => {
		const step = Math.abs(width - (widths[i - 1] ?? 0));
		if (step > 1 && step <= 8) steps.set(step, (steps.get(step) ?? 0) + 1);
	});
	const [most] = [...steps].sort(([, a], [, b]) => b - a);
	return { tabSize: most?.[0] ?? 4, insertSpaces: true };
}
