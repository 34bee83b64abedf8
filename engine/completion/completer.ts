// Inline completion, from a cursor in a document to an edit. A request is answered by a suggestion that was given
// before, else by the run in flight, else by a new run of the model.
import { createHash } from 'node:crypto';
import type { RelatedFile } from '../families/family';
import type { OpenedModel } from '../loading/open-model';
import { messageOf } from '../quote';
import type { EngineSettings } from '../settings';
import { StreamDecoder } from '../tokenizer/stream-decoder';
import type { Edit } from './edit';
import { Fit } from './fit';
import { fitPrompt } from './fitted-prompt';
import { type Followed, InFlight, type Outcome } from './in-flight';
import { withPlainLineEnds } from './lines';
import type { Formatting } from './postprocess/filter';
import { allowsMultiline, StopRule } from './stop-rules';
import { suggestionFrom } from './suggestion';
import { SuggestionCache, type SuggestionKey } from './suggestion-cache';
import type { TokenPrefixIndex } from './token-healing';
import type { Trace } from './trace';
import { cutWindow } from './window';

export interface CompletionReport {
	/** `excluded`: the user keeps the file from the model, so that none was asked. */
	outcome: 'shown' | 'empty' | 'canceled' | 'failed' | 'excluded';
	/** e.g. "the suggestion only repeated the text after the cursor". */
	reason?: string;
	promptTokens: number;
	cachedTokens: number;
	generatedTokens: number;
	milliseconds: number;
}

export interface CompletionRequest {
	/** The document, e.g. its URI. */
	document: string;
	/** The file as the user knows it, e.g. its path in the workspace; shown to the model. */
	label: string;
	languageId: string;
	/** Parts of other files that may help. They are used only where the model has a place for them. */
	related?: readonly RelatedFile[];
	/** The text before and after the cursor. */
	before: string;
	after: string;
	/** Whether the user asked by a command. Then the suggestion may span lines where the setting is `auto`. */
	invoked: boolean;
	settings: EngineSettings['completion'];
	/** How the editor indents the document. Without it the document's own lines tell. */
	formatting?: Formatting;
	/** Receives what each stage made of the suggestion, if the model is asked for one. */
	trace?: Trace;
	signal: AbortSignal;
}

/** What of a model completes. */
export type CompletionModel = Pick<OpenedModel, 'tokenizer' | 'family'> & {
	readonly engine: Pick<OpenedModel['engine'], 'generate' | 'contextTokens'>;
};

export type CompletionResult =
	| { outcome: 'shown'; edit: Edit; report: CompletionReport }
	| { outcome: Exclude<CompletionReport['outcome'], 'shown'>; reason: string; report: CompletionReport };

/** Completes for one client. The client has at most one run in flight, which is the one for its latest request. */
export class Completer {
	readonly #model: CompletionModel;
	readonly #index: TokenPrefixIndex;
	readonly #stopIds: ReadonlySet<number>;
	readonly #cache = new SuggestionCache();
	#inFlight: InFlight | undefined;

	/** @param index the index of the model's tokenizer, which all clients of the model share. */
	constructor(model: CompletionModel, index: TokenPrefixIndex) {
		this.#model = model;
		this.#index = index;
		const { vocabulary } = model.tokenizer;
		// The text ends at any special token, whichever it is.
		const ids = Array.from({ length: vocabulary.size }, (_, id) => id);
		this.#stopIds = new Set([...model.family.endOfText, ...ids.filter((id) => vocabulary.isSpecial(id))]);
	}

	/** Never rejects: a failure is a result with its reason. */
	async complete(request: CompletionRequest): Promise<CompletionResult> {
		const started = performance.now();
		const { settings } = request;
		// A suggestion is judged by the text around the cursor, so the window holds enough of it even if the prompt's budgets
		// are small.
		const window = cutWindow(request, {
			prefixTokens: Math.max(settings.prefixTokens, MIN_JUDGED_TOKENS),
			suffixTokens: Math.max(settings.suffixTokens, MIN_JUDGED_TOKENS),
		});
		const multiline = request.invoked && settings.multiline === 'auto' ? 'always' : settings.multiline;
		const key: SuggestionKey = { document: fingerprint(request, multiline), window };

		const finish = (outcome: Outcome): CompletionResult => {
			const { suggestion, ...counts } = outcome;
			const report = { ...counts, milliseconds: performance.now() - started };
			if (suggestion.text === '') {
				const reason = suggestion.reason ?? 'the model had nothing to add here';
				return { outcome: 'empty', reason, report: { outcome: 'empty', reason, ...report } };
			}
			const edit = new Fit(window, request.languageId).edit(suggestion.text);
			return {
				outcome: 'shown',
				edit: { ...edit, text: edit.text.replaceAll('\n', lineEndOf(request)) },
				report: { outcome: 'shown', ...report },
			};
		};
		const fail = (outcome: 'canceled' | 'failed', reason: string): CompletionResult => ({
			outcome,
			reason,
			report: { outcome, reason, ...NO_COUNTS, milliseconds: performance.now() - started },
		});

		const known = this.#cache.find(key);
		if (known) return finish({ suggestion: known, ...NO_COUNTS });
		try {
			let followed: Followed = 'diverged';
			if (this.#inFlight?.serves(key)) followed = await this.#inFlight.follow(key, request.signal);
			if (followed === 'diverged') {
				if (request.signal.aborted) return fail('canceled', 'typing went on');
				this.#inFlight?.cancel();
				this.#inFlight = new InFlight(key, (signal, onText) =>
					this.#write({ ...request, settings: { ...settings, multiline } }, key, signal, onText),
				);
				followed = await this.#inFlight.follow(key, request.signal);
			}
			return followed === 'canceled' || followed === 'diverged' ? fail('canceled', 'typing went on') : finish(followed);
		} catch (error) {
			return fail('failed', messageOf(error));
		}
	}

	/** Ends the run in flight, for a client that has gone. */
	dispose(): void {
		this.#inFlight?.cancel();
	}

	async #write(
		request: CompletionRequest,
		key: SuggestionKey,
		signal: AbortSignal,
		onText: (text: string) => void,
	): Promise<Outcome | 'canceled'> {
		const { window } = key;
		const { languageId, settings, formatting } = request;
		const multiline = allowsMultiline(settings.multiline, languageId, window);
		const stop = new StopRule(window, multiline, languageId);
		const prompt = fitPrompt(this.#model, { ...request, related: request.related ?? [] }, request, settings);
		const decoder = new StreamDecoder(this.#model.tokenizer.vocabulary);
		let written = '';
		const text = () => withPlainLineEnds(written.slice(prompt.healed.length));
		const result = await this.#model.engine.generate({
			tokens: prompt.tokens,
			priority: 'completion',
			maxTokens: prompt.maxTokens,
			stopIds: this.#stopIds,
			...(prompt.healed !== '' && { choose: this.#index.chooser(prompt.healed) }),
			signal,
			onToken: (token) => {
				written += decoder.push(token);
				onText(text());
				return stop.end(text()) === undefined ? undefined : 'stop';
			},
		});
		if (result.stopReason === 'canceled') return 'canceled';
		written += decoder.end();
		const cutShort = result.stopReason === 'length' || result.stopReason === 'context';
		const context = { languageId, window, multiline, ...(formatting && { formatting }) };
		const suggestion = suggestionFrom(text(), stop, cutShort, context, request.trace);
		this.#cache.add(key, suggestion);
		return {
			suggestion,
			promptTokens: result.promptTokens,
			cachedTokens: result.cachedTokens,
			generatedTokens: result.tokens.length,
		};
	}
}

/** Fills the cache with the beginning that all completion prompts share, while the engine is idle. */
export async function warmUp(model: CompletionModel, signal: AbortSignal): Promise<void> {
	const tokens = model.family.completion.shared;
	if (tokens.length > 0) await model.engine.generate({ tokens, priority: 'warmup', maxTokens: 0, signal });
}

/**
 * Suggestions are judged by at least so many tokens on either side of the cursor, even if the prompt's budgets are
 * smaller.
 */
const MIN_JUDGED_TOKENS = 256;
/** So many characters on either side of the cursor are searched for the file's line end. */
const LINE_END_SAMPLE = 65_536;

/**
 * A short string for all that decides about a suggestion beside the model and the text around the cursor: requests with
 * the same string have the same prompt and the same filters.
 */
function fingerprint(request: CompletionRequest, multiline: string): string {
	const { document, label, languageId, related = [], settings, formatting } = request;
	return createHash('sha256')
		.update(JSON.stringify([document, label, languageId, related, { ...settings, multiline }, formatting]))
		.digest('base64');
}

/** How the lines around the cursor end. */
function lineEndOf({ before, after }: Pick<CompletionRequest, 'before' | 'after'>): string {
	const around = before.slice(-LINE_END_SAMPLE) + after.slice(0, LINE_END_SAMPLE);
	return /\r\n?|\n/.exec(around)?.[0] ?? '\n';
}

export const NO_COUNTS = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };
