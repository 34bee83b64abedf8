// Inline completion for one client. This service knows which model completes, which other files the client has open,
// and what the user wrote last.
import {
	Completer,
	type CompletionReport,
	type CompletionRequest,
	type CompletionResult,
} from '../completion/completer';
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
	otherFiles: () => readonly OpenFile[];
}

export class CompletionService {
	readonly #models: Models;
	readonly #activity: Activity;
	readonly #related = new RelatedFiles();
	#completer: { model: LoadedModel; completer: Completer } | undefined;
	#lastReport: CompletionReport | undefined;

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
		const model = await this.#models.modelFor('completion').catch(() => undefined);
		if (!model) return undefined;
		const { line, otherFiles, ...request } = place;
		return this.#activity.run('completion', async () => {
			const related = this.#relatedTo(place, model);
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

	#relatedTo(
		{ document, line, otherFiles, settings }: CompletionPlace,
		{ family }: LoadedModel,
	): readonly RelatedFile[] {
		if (!family.completion.takesRelated || settings.relatedTokens === 0) return [];
		return this.#related.around({ document, line }, otherFiles, settings.relatedTokens);
	}

	#completerOf(model: LoadedModel): Completer {
		if (this.#completer?.model !== model) {
			this.#completer?.completer.dispose();
			this.#completer = { model, completer: new Completer(model, model.tokenIndex) };
		}
		return this.#completer.completer;
	}
}
