// Inline completion, from a cursor in a document to an edit: suggestions given before, the run in flight, then the model.
import type { CompletionPrompt, RelatedFile } from '../families/family';
import type { CompletionReport, EngineSettings } from '../protocol';
import { messageOf } from '../quote';
import type { OpenedModel } from '../runtime/model';
import { StreamDecoder } from '../tokenizer/stream-decoder';
import { type Edit, editFor } from './edit';
import { type Followed, InFlight, type Outcome } from './in-flight';
import { postprocess } from './postprocess/postprocess';
import { allowsMultiline, StopRule } from './stop-rules';
import { type Suggestion, SuggestionCache, type SuggestionKey } from './suggestion-cache';
import type { TokenPrefixIndex } from './token-healing';
import { cutWindow, type Window } from './window';

export interface CompletionRequest {
	/** The document, e.g. its URI. */
	document: string;
	/** The file as the user knows it, e.g. its path in the workspace; shown to the model. */
	label: string;
	languageId: string;
	/** Parts of other files that may help; read only where the model has a place for them. */
	related?: readonly RelatedFile[];
	/** The text before and after the cursor. */
	before: string;
	after: string;
	/** Asked for by a command, so more than the rest of a line is welcome where the setting leaves it open. */
	invoked: boolean;
	settings: EngineSettings['completion'];
	signal: AbortSignal;
}

export type CompletionResult =
	| { outcome: 'shown'; edit: Edit; report: CompletionReport }
	| { outcome: 'empty' | 'canceled' | 'failed'; reason: string; report: CompletionReport };

/** Completes for one client: it has at most one run in flight, the one for its latest request. */
export class Completer {
	readonly #model: OpenedModel;
	readonly #index: TokenPrefixIndex;
	readonly #stopIds: ReadonlySet<number>;
	readonly #cache = new SuggestionCache();
	#inFlight: InFlight | undefined;

	/** @param index of the model's tokenizer; shared by the clients of a model. */
	constructor(model: OpenedModel, index: TokenPrefixIndex) {
		this.#model = model;
		this.#index = index;
		const { tokenizer } = model;
		// Whatever special token comes, the text ends there.
		const ids = Array.from({ length: tokenizer.vocabularySize }, (_, id) => id);
		this.#stopIds = new Set(ids.filter((id) => tokenizer.isSpecial(id)));
	}

	/** Never rejects: a failure is a result with its reason. */
	async complete(request: CompletionRequest): Promise<CompletionResult> {
		const started = performance.now();
		const newline = request.before.includes('\r\n') || request.after.includes('\r\n') ? '\r\n' : '\n';
		const window = cutWindow(
			{ before: request.before.replaceAll('\r\n', '\n'), after: request.after.replaceAll('\r\n', '\n') },
			request.settings,
		);
		const { maxTokens } = request.settings;
		const multiline = request.invoked && request.settings.multiline === 'auto' ? 'always' : request.settings.multiline;
		const document = JSON.stringify([request.document, request.label, request.languageId, multiline, maxTokens]);
		const key: SuggestionKey = { document, window };

		const finish = (outcome: Outcome): CompletionResult => {
			const { suggestion, ...counts } = outcome;
			const report = { ...counts, milliseconds: performance.now() - started };
			if (suggestion.text === '') {
				const reason = suggestion.reason ?? 'the model had nothing to add here';
				return { outcome: 'empty', reason, report: { outcome: 'empty', reason, ...report } };
			}
			const edit = editFor(suggestion.text, window.lineSuffix);
			return {
				outcome: 'shown',
				edit: { ...edit, text: edit.text.replaceAll('\n', newline) },
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
					this.#write({ ...request, settings: { ...request.settings, multiline } }, key, signal, onText),
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
		const { languageId, settings } = request;
		const multiline = allowsMultiline(settings.multiline, languageId, window);
		const stop = new StopRule(window, multiline);
		const prompt = this.#fit(request, window);
		const decoder = new StreamDecoder(this.#model.tokenizer);
		let written = '';
		const text = () => written.slice(prompt.healed.length);
		const result = await this.#model.engine.generate({
			tokens: prompt.tokens,
			priority: 'completion',
			// What was taken back has to be written again.
			maxTokens: settings.maxTokens + this.#model.tokenizer.count(prompt.healed),
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
		const suggestion = this.#finish(text(), stop, cutShort, { languageId, window, multiline });
		this.#cache.add(key, suggestion);
		return {
			suggestion,
			promptTokens: result.promptTokens,
			cachedTokens: result.cachedTokens,
			generatedTokens: result.tokens.length,
		};
	}

	#finish(
		text: string,
		stop: StopRule,
		cutShort: boolean,
		context: { languageId: string; window: Window; multiline: boolean },
	): Suggestion {
		let kept = text.slice(0, stop.end(cutShort ? text : `${text}\n`) ?? text.length);
		// Where the tokens ran out, the last of several lines is a torso.
		if (cutShort && kept === text && kept.includes('\n')) kept = kept.slice(0, kept.lastIndexOf('\n'));
		const processed = postprocess(kept, context);
		return 'dropped' in processed ? { text: '', reason: processed.dropped } : { text: processed.text };
	}

	/** The prompt, with a smaller window where the context is too small for the one asked for. */
	#fit(request: CompletionRequest, window: Window): CompletionPrompt {
		const { engine, family } = this.#model;
		const { settings, label, languageId } = request;
		const file = { label, languageId, related: request.related ?? [] };
		const prompt = family.completion.build(file, window);
		let { prefixTokens, suffixTokens } = settings;
		let fitted = prompt;
		while (fitted.tokens.length + settings.maxTokens > engine.contextTokens && prefixTokens + suffixTokens > 1) {
			prefixTokens = Math.floor(prefixTokens / 2);
			suffixTokens = Math.floor(suffixTokens / 2);
			const lines = `${window.lineSuffix}\n${window.suffix}`;
			const smaller = cutWindow({ before: window.prefix, after: lines }, { prefixTokens, suffixTokens });
			fitted = family.completion.build({ ...file, related: [] }, { ...smaller, prefixIsWhole: false });
		}
		return fitted;
	}
}

/** Computes what all completions' prompts begin with while the engine is idle. */
export async function warmUp(model: OpenedModel, signal: AbortSignal): Promise<void> {
	const tokens = model.family.completion.shared;
	if (tokens.length > 0) await model.engine.generate({ tokens, priority: 'warmup', maxTokens: 0, signal });
}

const NO_COUNTS = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };
