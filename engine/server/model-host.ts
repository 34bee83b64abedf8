// The one model that all clients share: loading, replacing and unloading it.
import { Chat } from '../chat/chat';
import { warmUp } from '../completion/completer';
import { TokenPrefixIndex } from '../completion/token-healing';
import type { EngineSettings, ModelSummary } from '../protocol';
import { type OpenedModel, type OpenOptions, openModel } from '../runtime/model';
import { describe, log } from './log';

/** A loaded model with what is built on it. */
export interface LoadedModel extends OpenedModel {
	chat: Chat;
	tokenIndex: TokenPrefixIndex;
	summary: ModelSummary;
}

export type ModelState =
	| { state: 'no-model' }
	| { state: 'loading'; path: string }
	| { state: 'ready'; model: LoadedModel }
	| { state: 'error'; path: string; error: string };

export type OpenModel = (file: string, options: OpenOptions) => Promise<OpenedModel>;

/** No model is loaded; the message says what to do. */
export class NoModelError extends Error {
	override name = 'NoModelError';

	constructor(state: ModelState) {
		super(
			state.state === 'loading'
				? 'the model is still loading; try again when it is ready'
				: state.state === 'error'
					? `the model could not be loaded: ${state.error}`
					: 'no model is chosen; choose a GGUF file first',
		);
	}
}

/** The chat and completion prompts beside the excerpts: instructions, file name, message headers. */
const COMPLETION_OVERHEAD = 512;

interface Load {
	key: string;
	path: string;
	settings: EngineSettings;
	/** Open it even where the same is in use. */
	anew: boolean;
	done: Promise<LoadedModel>;
}

/**
 * Loads models one at a time; the last one asked for wins. The model in use works on until the next one is open, and stays
 * where that fails: weights are mapped, so two open files take little more than one.
 */
export class ModelHost {
	readonly #open: OpenModel;
	readonly #changed: () => void;
	#inUse: { load: Load; model: LoadedModel } | undefined;
	/** The load asked for last, for as long as it runs or its model is in use. */
	#wanted: Load | undefined;
	/** Why there is no model. */
	#failure: { path: string; error: string } | undefined;
	#queue: Promise<unknown> = Promise.resolve();
	#closed = false;

	/** @param changed called after each change of `state`. */
	constructor(changed: () => void, open: OpenModel = openModel) {
		this.#changed = changed;
		this.#open = open;
	}

	get state(): ModelState {
		if (this.#wanted && this.#wanted !== this.#inUse?.load) return { state: 'loading', path: this.#wanted.path };
		if (this.#inUse) return { state: 'ready', model: this.#inUse.model };
		return this.#failure ? { state: 'error', ...this.#failure } : { state: 'no-model' };
	}

	/** The model in use, even while the next one is loading; undefined while there is none. */
	get model(): LoadedModel | undefined {
		return this.#inUse?.model;
	}

	/** @throws NoModelError saying what to do. */
	requireModel(): LoadedModel {
		if (!this.#inUse) throw new NoModelError(this.state);
		return this.#inUse.model;
	}

	/** What of the settings a loaded model depends on: a change of it needs a reload. */
	static key(settings: EngineSettings): string {
		const { modelPath, threads, contextTokens, kernels, backend, rope, cacheType, speculation, repackWeights } =
			settings;
		return JSON.stringify([
			...[modelPath, threads, contextTokens, kernels, backend, rope, cacheType, speculation, repackWeights],
		]);
	}

	/**
	 * Loads `settings.modelPath` and then closes the model in use, whose running requests fail. Does nothing where the same is
	 * loaded, or being loaded, with the same settings. The state is `loading` at once.
	 * @throws a one-line error where the file cannot be used; the model in use stays, and without one the state is `error`.
	 */
	load(settings: EngineSettings): Promise<LoadedModel> {
		const key = ModelHost.key(settings);
		if (this.#wanted?.key === key) return this.#wanted.done;
		return this.#start(settings, false);
	}

	/** Opens the model in use again, e.g. because what `auto` means has changed; its running requests fail. */
	async reload(): Promise<void> {
		const { settings } = this.#wanted ?? this.#inUse?.load ?? {};
		if (settings) await this.#start(settings, true);
	}

	#start(settings: EngineSettings, anew: boolean): Promise<LoadedModel> {
		const load: Load = {
			...{ key: ModelHost.key(settings), path: settings.modelPath, settings, anew },
			done: this.#queue.then(() => this.#replace(load, settings)),
		};
		this.#wanted = load;
		this.#queue = load.done.catch(() => {});
		this.#changed();
		return load.done;
	}

	/** Frees the model. Its running requests fail. */
	async unload(): Promise<void> {
		this.#wanted = undefined;
		const unloading = this.#queue.then(async () => {
			const { model } = this;
			this.#inUse = undefined;
			this.#failure = undefined;
			this.#changed();
			await model?.engine.close();
		});
		this.#queue = unloading.catch(() => {});
		await unloading;
	}

	/** Unloads for good. */
	async close(): Promise<void> {
		this.#closed = true;
		await this.unload();
	}

	async #replace(load: Load, settings: EngineSettings): Promise<LoadedModel> {
		if (this.#closed) throw new Error('the engine is shutting down');
		if (this.#wanted !== load) throw new Error('another model was chosen meanwhile');
		const previous = this.#inUse;
		if (previous?.load.key === load.key && !load.anew) {
			// Another one was asked for in between and is wanted no more.
			this.#inUse = { ...previous, load };
			this.#changed();
			return previous.model;
		}
		let model: LoadedModel;
		try {
			model = await this.#openModel(settings);
		} catch (error) {
			const { path } = load;
			log(`cannot load ${path}: ${describe(error)}`);
			if (!previous) this.#failure = { path, error: (error as Error).message };
			if (this.#wanted === load) this.#wanted = previous?.load;
			this.#changed();
			throw error;
		}
		log(`loaded ${load.path} in ${Math.round(model.loadMilliseconds)} ms`);
		this.#inUse = { load, model };
		this.#failure = undefined;
		this.#changed();
		await previous?.model.engine.close();
		warmUp(model, new AbortController().signal).catch((error) => log(`warm-up: ${describe(error)}`));
		return model;
	}

	async #openModel(settings: EngineSettings): Promise<LoadedModel> {
		const { completion, contextTokens } = settings;
		const window = completion.prefixTokens + completion.suffixTokens + completion.maxTokens + COMPLETION_OVERHEAD;
		const opened = await this.#open(settings.modelPath, {
			threads: settings.threads,
			kernels: settings.kernels,
			backend: settings.backend,
			onBackendNote: (note) => {
				log(note);
				this.#changed();
			},
			rope: settings.rope,
			speculation: settings.speculation,
			repack: settings.repackWeights,
			// f16 is each backend's own default (the reference kernels keep f32).
			...(settings.cacheType === 'q8_0' && settings.kernels !== 'reference' && { cacheType: settings.cacheType }),
			contextTokens,
			// A conversation that fills its context leaves the completions their own room.
			cacheTokens: contextTokens + Math.min(window, contextTokens),
		});
		return {
			...opened,
			chat: new Chat(opened),
			tokenIndex: new TokenPrefixIndex(opened.tokenizer),
			// Told anew each time: the backend may change while it works.
			get summary() {
				return summarize(opened);
			},
		};
	}
}

function summarize({ engine, loadMilliseconds }: OpenedModel): ModelSummary {
	const { info } = engine;
	return {
		path: info.path,
		name: info.name,
		architecture: info.architecture,
		fileBytes: info.fileBytes,
		parameterCount: info.parameterCount,
		contextLength: engine.contextTokens,
		backend: info.backend,
		...(info.device !== undefined && { device: info.device }),
		...(info.backendNote !== undefined && { backendNote: info.backendNote }),
		kernels: info.kernels,
		threads: info.threads,
		loadMilliseconds,
	};
}
