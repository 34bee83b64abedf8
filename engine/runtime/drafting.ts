// Speculation in decode steps: chooses which source drafts for which sequence, and how many tokens. Speed depends on
// the choice, tokens do not.
import type { StepBatch } from '../../native/index';
import { ALIKE, DraftCost, DraftRecord } from '../speculation/draft-length';
import type { DraftGround, DraftRequest, DraftSource } from '../speculation/draft-source';
import { HeadDrafts } from '../speculation/head-drafts';
import { PromptLookup } from '../speculation/prompt-lookup';
import type { LiveRequest, LiveRequests } from './live-requests';
import { checkTokens } from './request-check';
import type { RunningModel } from './running-model';
import { rowCount, type StepEntry, type StepPlan } from './scheduler';

export interface DraftingOptions {
	/** Verify drafted tokens beside the next one where that pays. Changes speed, never a token. Default true. */
	speculation?: boolean;
	/**
	 * The sources of drafts, which the engine closes. Default: lookup in each sequence's own text, and the draft head
	 * where the model was opened with one.
	 */
	draftSources?: readonly DraftSource[];
	/** Called when a source of drafts has failed. The source is not asked again, and generation goes on without it. */
	onDraftFailure?: (error: Error) => void;
}

/** The source that is to draft for a sequence, and how many tokens. */
interface DraftOrder {
	source: DraftSource;
	length: number;
	ground?: DraftGround;
}

export class Drafting {
	/** Whether any drafts are made at all. */
	readonly enabled: boolean;
	readonly #requests: LiveRequests;
	readonly #onFailure: ((error: Error) => void) | undefined;
	/** The cost of drafting, by source. */
	readonly #sources: Map<DraftSource, DraftCost>;

	constructor(running: RunningModel, requests: LiveRequests, options: DraftingOptions) {
		this.enabled = options.speculation ?? true;
		this.#requests = requests;
		this.#onFailure = options.onDraftFailure;
		const sources = options.draftSources ?? defaultSources(running);
		this.#sources = new Map((this.enabled ? sources : []).map((source) => [source, new DraftCost()]));
	}

	/**
	 * Drafts for the sequences of a pure decode step, as far as the extra rows and the drafting pay for themselves. The
	 * source that promises a sequence the most is asked first. Where that source has no draft, the next one is asked.
	 */
	async addTo(plan: StepPlan<LiveRequest>, running: RunningModel): Promise<void> {
		let open = plan.entries.filter(
			({ output, sequence }) => output && !sequence.choosing && sequence.options.speculation !== false,
		);
		for (let round = 0; open.length > 0; round++) {
			const asked = new Map<DraftSource, { entry: StepEntry<LiveRequest>; request: DraftRequest }[]>();
			for (const entry of open) {
				const order = this.#chooseSource(plan, entry, running, round);
				if (!order || !running.scheduler.reserveDrafts(entry, order.length)) continue;
				entry.draftGround = order.ground;
				const request = { sequence: entry.sequence, limit: order.length, blocks: entry.lease.blocks };
				asked.set(order.source, [...(asked.get(order.source) ?? []), { entry, request }]);
			}
			open = [];
			for (const [source, items] of asked) {
				const requests = items.map(({ request }) => request);
				const drafts = await this.#propose(source, requests, running.info.vocabularySize);
				items.forEach(({ entry, request }, i) => {
					entry.drafts = drafts[i]?.slice(0, request.limit) ?? [];
					entry.draftSource = source;
					if (entry.drafts.length === 0) open.push(entry);
				});
			}
		}
	}

	/** Whether drafts would pay by now for a sequence that is being decoded without drafts. */
	wouldPay(plan: StepPlan<LiveRequest>, running: RunningModel): boolean {
		return plan.entries.some(
			(entry) =>
				!entry.sequence.settled &&
				entry.sequence.options.speculation !== false &&
				this.#chooseSource(plan, entry, running, 0) !== undefined,
		);
	}

	/** Shows a step to all sources before it runs. */
	prepare(plan: StepPlan<LiveRequest>, batch: StepBatch): void {
		const sequences = plan.entries.map(({ sequence }) => sequence);
		for (const source of this.#sources.keys()) {
			try {
				source.prepare?.(batch, sequences);
			} catch (error) {
				this.#drop(source, error as Error);
			}
		}
	}

	/** A request has ended, or its place in the cache is another one now. */
	release(request: LiveRequest): void {
		for (const source of this.#sources.keys()) source.release?.(request);
	}

	close(): void {
		for (const source of this.#sources.keys()) source.close?.();
	}

	/** The source that promises a sequence the most, apart from the `round` sources that had no draft for it. */
	#chooseSource(
		plan: StepPlan<LiveRequest>,
		{ sequence: request }: StepEntry<LiveRequest>,
		{ scheduler, stepCost }: RunningModel,
		round: number,
	): DraftOrder | undefined {
		const { options } = request;
		const generated = request.tokens.length - request.promptTokens;
		// The last token a request may have needs no draft behind it.
		const limit = Math.min(options.maxTokens - generated, scheduler.contextTokens - request.tokens.length) - 1;
		if (limit <= 0) return undefined;
		if (options.drafts) {
			return round === 0
				? { source: options.drafts.source, length: Math.min(options.drafts.length, limit) }
				: undefined;
		}
		const otherRows = rowCount(plan) - 1;
		const choices = [...this.#sources].flatMap(([source, cost]) => {
			const ground = this.#groundOf(source, request);
			if (!ground) return [];
			return { source, ground, ...recordOf(request, source).best(stepCost, otherRows, limit, cost, ground) };
		});
		return choices.filter(({ length }) => length > 0).sort((a, b) => b.rate - a.rate)[round];
	}

	#groundOf(source: DraftSource, request: LiveRequest): DraftGround | undefined {
		try {
			return source.ground ? source.ground(request) : ALIKE;
		} catch (error) {
			this.#drop(source, error as Error);
			return undefined;
		}
	}

	async #propose(source: DraftSource, requests: DraftRequest[], vocabularySize: number): Promise<number[][]> {
		const started = performance.now();
		try {
			const drafts = await source.propose(requests);
			for (const draft of drafts) checkTokens(draft, vocabularySize);
			const longest = drafts.reduce((most, { length }) => Math.max(most, length), 0);
			this.#sources.get(source)?.observe(longest, performance.now() - started);
			return drafts;
		} catch (error) {
			this.#drop(source, error as Error);
			return [];
		}
	}

	#drop(source: DraftSource, error: Error): void {
		// A draft head reads its weights from the model's own files. A draft model has a file of its own, and its engine
		// reports changes of that file.
		if (source instanceof HeadDrafts && this.#requests.failIfFileChanged(error)) return;
		if (this.#sources.delete(source)) source.close?.();
		this.#onFailure?.(error);
	}
}

/** Learns from a step how many of an entry's drafts were right. */
export function learnFromDrafts(entry: StepEntry<LiveRequest>, right: number): void {
	const { sequence, drafts, draftSource, draftGround } = entry;
	if (draftSource) recordOf(sequence, draftSource).observe(drafts.length, right, draftGround);
}

function defaultSources({ model, nativeCache, info, setup }: RunningModel): DraftSource[] {
	// A model with a draft head never moves to another device, because no GPU runs heads. So the head's cache stays the
	// engine's.
	return [new PromptLookup(), ...(info.draftHead ? [new HeadDrafts(model, nativeCache, setup.turns)] : [])];
}

function recordOf(request: LiveRequest, source: DraftSource): DraftRecord {
	const record = request.records.get(source) ?? new DraftRecord();
	request.records.set(source, record);
	return record;
}
