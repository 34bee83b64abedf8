// Inline completion for one client. This service knows which model completes, which other files the client has open,
// and what the user wrote last.
import {
	Completer,
	type CompletionReport,
	type CompletionRequest,
	type CompletionResult,
	NO_COUNTS,
} from '../completion/completer';
import type { DocumentLocation } from '../completion/document-location';
import { Exclusion } from '../completion/exclusion';
import { type OpenFile, RelatedFiles } from '../completion/related-files';
import type { RelatedFile } from '../families/family';
import type { Activity } from './activity';
import type { LoadedModel } from './loaded-model';
import { log } from './log';
import type { Models } from './models';

/** A place in a document, with what the client wants there. */
interface CompletionPlace extends Omit<CompletionRequest, 'related'> {
	/** Line of the cursor, counted from 0. */
	line: number;
	/** The files that are open beside the document. They are read only where the model's prompt has a place for them. */
	otherFiles: () => readonly LocatedFile[];
	/** Where the document lies. */
	location: DocumentLocation;
}

export interface LocatedFile extends OpenFile {
	location: DocumentLocation;
}

export class CompletionService {
	readonly #models: Models;
	readonly #activity: Activity;
	readonly #related = new RelatedFiles();
	readonly #exclusion = new Exclusion();
	#completer: { model: LoadedModel; completer: Completer } | undefined;
	#lastReport: CompletionReport | undefined;
	/** The settings that the shown parts of other files were chosen by. */
	#settings: CompletionRequest['settings'] | undefined;

	constructor(models: Models, activity: Activity) {
		this.#models = models;
		this.#activity = activity;
	}

	/** Why the last completion showed what it did. Absent before the first completion. */
	get lastReport(): CompletionReport | undefined {
		return this.#lastReport;
	}

	/**
	 * Never rejects: a failure is a result that gives its reason. The result is undefined where no model is loaded; the
	 * status then says why.
	 */
	async complete(place: CompletionPlace): Promise<CompletionResult | undefined> {
		const { line, otherFiles, location, ...request } = place;
		// The file is judged first: an excluded one wakes no model that was unloaded.
		const reason = await this.#exclusion.reasonFor(location, place.settings);
		if (reason !== undefined) return this.#excluded(place.document, reason);
		const model = await this.#models.modelFor('completion').catch(() => undefined);
		if (!model) return undefined;
		return this.#activity.run('completion', async () => {
			const related = await this.#relatedTo(place, model);
			const result = await this.#completerOf(model).complete({ ...request, related });
			if (result.outcome === 'failed') log(`completion failed: ${result.reason}`);
			this.#lastReport = result.report;
			return result;
		});
	}

	/** A document was closed. */
	forget(document: string): void {
		this.#related.forget(document);
	}

	/** Ends the completion that runs, because the client has gone. */
	dispose(): void {
		this.#completer?.completer.dispose();
	}

	/** The answer for a file that the user keeps from the model. */
	#excluded(document: string, reason: string): Promise<CompletionResult> {
		this.#related.forget(document);
		const report: CompletionReport = { outcome: 'excluded', reason, ...NO_COUNTS, milliseconds: 0 };
		// Clients get the report with the status, which is sent when this count changes.
		return this.#activity.run('completion', async () => {
			this.#lastReport = report;
			return { outcome: 'excluded', reason, report };
		});
	}

	async #relatedTo(
		{ document, line, otherFiles, settings }: CompletionPlace,
		{ family }: LoadedModel,
	): Promise<readonly RelatedFile[]> {
		if (!family.completion.takesRelated || settings.relatedTokens === 0) return [];
		if (settings !== this.#settings) this.#related.chooseAgain();
		this.#settings = settings;
		const others = otherFiles();
		const reasons = await Promise.all(others.map(({ location }) => this.#exclusion.reasonFor(location, settings)));
		const allowed = others.filter((_, i) => reasons[i] === undefined);
		return this.#related.around({ document, line }, allowed, settings.relatedTokens);
	}

	#completerOf(model: LoadedModel): Completer {
		if (this.#completer?.model !== model) {
			this.#completer?.completer.dispose();
			this.#completer = { model, completer: new Completer(model, model.tokenIndex) };
		}
		return this.#completer.completer;
	}
}
