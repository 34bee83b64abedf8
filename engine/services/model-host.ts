// The model that all clients share for a role: this class loads, replaces and unloads it.
import { statSync } from 'node:fs';
import { warmUp } from '../completion/completer';
import { type OpenedModel, type OpenOptions, openModel } from '../loading/open-model';
import type { MachineMemory } from '../machine/memory';
import { machineMemory } from '../machine/memory';
import type { MemoryLimit } from '../models/memory-need';
import { cacheTokens } from '../models/memory-need';
import { messageOf } from '../quote';
import { StepArbiter } from '../runtime/step-arbiter';
import type { EngineSettings } from '../settings';
import { type LoadedModel, loadedModel, type ModelSummary } from './loaded-model';
import { describe, log } from './log';

export type ModelState =
	| { state: 'no-model' }
	| { state: 'loading'; path: string }
	| { state: 'ready'; model: LoadedModel }
	/** The model was idle and was unloaded. The next request for it loads it again. */
	| { state: 'unloaded'; path: string; summary: ModelSummary }
	| { state: 'error'; path: string; error: string };

export type OpenModel = (file: string, options: OpenOptions) => Promise<OpenedModel>;

/** No model is loaded. The message says what to do. */
export class NoModelError extends Error {
	override name = 'NoModelError';

	constructor(state: ModelState) {
		super(
			state.state === 'loading'
				? 'the model is still loading; try again when it is ready'
				: state.state === 'error'
					? `there is no model: ${state.error}`
					: 'no model is chosen; choose a GGUF file first',
		);
	}
}

interface Load {
	key: string;
	path: string;
	settings: EngineSettings;
	limit: MemoryLimit;
	/** Open the model even where the same one is in use. */
	anew: boolean;
	done: Promise<LoadedModel>;
}

/**
 * Loads models one at a time. If several are asked for, the last one wins. The model in use works on until the next one
 * is open, and it stays in use if opening the next one fails. Two open models take little more memory than one, because
 * weights are mapped.
 */
export class ModelHost {
	readonly #open: OpenModel;
	readonly #changed: () => void;
	readonly #memory: () => MachineMemory;
	readonly #arbiter: StepArbiter;
	#inUse: { load: Load; model: LoadedModel; files: string } | undefined;
	/** The load asked for last, for as long as it runs or its model is in use. */
	#wanted: Load | undefined;
	/** Why there is no model. */
	#failure: { path: string; error: string } | undefined;
	/** The load whose model was unloaded because it was idle. */
	#asleep: { load: Load; summary: ModelSummary } | undefined;
	#waking: Promise<LoadedModel> | undefined;
	#queue: Promise<unknown> = Promise.resolve();
	#closed = false;

	/**
	 * @param changed is called after each change of `state`.
	 * @param memory gives the memory that this model may count on.
	 * @param arbiter orders this model's steps among those of other models.
	 */
	constructor(
		changed: () => void,
		open: OpenModel = openModel,
		memory: () => MachineMemory = machineMemory,
		arbiter = new StepArbiter(),
	) {
		this.#changed = changed;
		this.#open = open;
		this.#memory = memory;
		this.#arbiter = arbiter;
	}

	get state(): ModelState {
		if (this.#wanted && this.#wanted !== this.#inUse?.load) return { state: 'loading', path: this.#wanted.path };
		if (this.#inUse) return { state: 'ready', model: this.#inUse.model };
		if (this.#asleep) return { state: 'unloaded', path: this.#asleep.load.path, summary: this.#asleep.summary };
		return this.#failure ? { state: 'error', ...this.#failure } : { state: 'no-model' };
	}

	/** The model in use, even while the next one is loading; undefined while there is none. */
	get model(): LoadedModel | undefined {
		return this.#inUse?.model;
	}

	/** @throws NoModelError, whose message says what to do. */
	requireModel(): LoadedModel {
		if (!this.#inUse) throw new NoModelError(this.state);
		return this.#inUse.model;
	}

	/**
	 * The model in use. A model that was unloaded when idle is loaded again, which is quick while its pages are in the
	 * file cache.
	 * @throws NoModelError, or what `load` throws.
	 */
	async wakenModel(): Promise<LoadedModel> {
		if (this.#asleep) {
			const { settings, limit } = this.#asleep.load;
			this.#waking = this.load(settings, limit).finally(() => {
				this.#waking = undefined;
			});
		}
		return this.#waking ?? this.requireModel();
	}

	/** Memory that closing the model in use would give back, in bytes. */
	get heldBytes(): number {
		return this.#inUse?.model.engine.heldBytes ?? 0;
	}

	/** Frees the model until it is asked for again. Does nothing while a model is loading or at work. */
	async sleep(): Promise<void> {
		const sleeping = this.#inUse;
		if (!sleeping || this.#wanted !== sleeping.load || sleeping.model.engine.busy) return;
		log(`unloaded ${sleeping.load.path}: nobody used it`);
		this.#asleep = { load: sleeping.load, summary: sleeping.model.summary };
		this.#wanted = undefined;
		this.#inUse = undefined;
		const closing = this.#queue.then(() => sleeping.model.engine.close());
		this.#queue = closing.catch(() => {});
		this.#changed();
		await closing;
	}

	/** A key of all settings that a loaded model depends on. A change of the key needs a reload. */
	static key(settings: EngineSettings): string {
		const { modelPath, draftModelPath, threads, contextTokens, kernels, backend, rope, cacheType } = settings;
		const { matrixUnits, speculation, repackWeights } = settings;
		return JSON.stringify([
			...[modelPath, draftModelPath, threads, contextTokens, kernels, backend, matrixUnits, rope, cacheType],
			...[speculation, repackWeights],
		]);
	}

	/** Whether no other model than that of the settings is loading, in use or asleep. */
	hasNoneBut({ modelPath }: EngineSettings): boolean {
		const { path = modelPath } = this.#wanted ?? this.#asleep?.load ?? {};
		return path === modelPath;
	}

	/**
	 * Loads `settings.modelPath` and then closes the model in use, whose running requests fail. Does nothing where the
	 * same model is loaded, or being loaded, with the same settings, unless another file has taken the place of its file.
	 * The state is `loading` at once.
	 * @param limit what the model may take of the memory.
	 * @throws NotEnoughMemoryError; a one-line error where the file cannot be used. The model in use stays; without one,
	 * the state is then `error`.
	 */
	load(settings: EngineSettings, limit: MemoryLimit = 'machine'): Promise<LoadedModel> {
		const key = ModelHost.key(settings);
		const replaced = this.#wanted === this.#inUse?.load && isReplaced(this.#inUse);
		if (this.#wanted?.key === key && !replaced) return this.#wanted.done;
		return this.#start(settings, limit, false);
	}

	/** Opens the model in use again, e.g. because `auto` now means another backend. The model's running requests fail. */
	async reload(): Promise<void> {
		const { settings, limit } = this.#wanted ?? this.#inUse?.load ?? {};
		if (settings && limit) await this.#start(settings, limit, true);
	}

	#start(settings: EngineSettings, limit: MemoryLimit, anew: boolean): Promise<LoadedModel> {
		const load: Load = {
			...{ key: ModelHost.key(settings), path: settings.modelPath, settings, limit, anew },
			done: this.#queue.then(() => this.#replace(load)),
		};
		this.#wanted = load;
		this.#asleep = undefined;
		this.#queue = load.done.catch(() => {});
		this.#changed();
		return load.done;
	}

	/** Frees the model. Its running requests fail. */
	async unload(): Promise<void> {
		this.#wanted = undefined;
		this.#asleep = undefined;
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

	/** Unloads the model. No model can be loaded afterwards. */
	async close(): Promise<void> {
		this.#closed = true;
		await this.unload();
	}

	async #replace(load: Load): Promise<LoadedModel> {
		if (this.#closed) throw new Error('the engine is shutting down');
		if (this.#wanted !== load) throw new Error('another model was chosen meanwhile');
		const previous = this.#inUse;
		if (previous?.load.key === load.key && !load.anew && !isReplaced(previous)) {
			// Another model was asked for in between, and then this one again.
			this.#inUse = { ...previous, load };
			this.#changed();
			return previous.model;
		}
		let model: LoadedModel;
		// The files are looked at before the model is opened. A file that takes their place while it is being opened then
		// counts as another one.
		const files = filesOf(load.settings);
		try {
			model = await this.#openModel(load);
		} catch (error) {
			const { path } = load;
			log(`cannot load ${path}: ${describe(error)}`);
			// The model in use may have been lost while this one was being opened.
			if (!this.#inUse) this.#failure = { path, error: messageOf(error) };
			if (this.#wanted === load) this.#wanted = this.#inUse?.load;
			this.#changed();
			throw error;
		}
		log(`loaded ${load.path} in ${Math.round(model.loadMilliseconds)} ms`);
		this.#inUse = { load, model, files };
		this.#failure = undefined;
		this.#changed();
		await previous?.model.engine.close();
		log(`chat: ${model.summary.chatText}`);
		if (model.draftProblem !== undefined) log(`no draft model: ${model.draftProblem}`);
		if (load.settings.completionModelPath === '') {
			warmUp(model, new AbortController().signal).catch((error) => log(`warm-up: ${describe(error)}`));
		}
		return model;
	}

	/** The model in use can compute no more, because its file has changed on the disk. */
	#lose(load: Load, error: Error): void {
		const lost = this.#inUse;
		if (lost?.load !== load) return;
		log(`unloaded ${load.path}: ${describe(error)}`);
		if (this.#wanted === load) this.#wanted = undefined;
		this.#inUse = undefined;
		this.#failure = { path: load.path, error: error.message };
		this.#queue = this.#queue.then(() => lost.model.engine.close()).catch(() => {});
		this.#changed();
	}

	async #openModel(load: Load): Promise<LoadedModel> {
		const { settings, limit } = load;
		const { contextTokens } = settings;
		const memory = this.#memory();
		const opened = await this.#open(settings.modelPath, {
			// The model in use is closed once this one is open, so the memory that it holds counts as available.
			...(limit !== 'none' && {
				memory: { settings, limit, available: { ...memory, availableBytes: memory.availableBytes + this.heldBytes } },
			}),
			threads: settings.threads,
			kernels: settings.kernels,
			backend: settings.backend,
			matrixUnits: settings.matrixUnits,
			onBackendNote: (note) => {
				log(note);
				this.#changed();
			},
			rope: settings.rope,
			speculation: settings.speculation,
			repack: settings.repackWeights,
			// f16 is every backend's own default, except that the reference kernels keep f32.
			...(settings.cacheType === 'q8_0' && settings.kernels !== 'reference' && { cacheType: settings.cacheType }),
			contextTokens,
			cacheTokens: cacheTokens(settings),
			turns: this.#arbiter.join(),
			...(settings.draftModelPath !== '' && { draftModelPath: settings.draftModelPath }),
			onLost: (error) => this.#lose(load, error),
			onDraftFailure: (error) => log(`${settings.draftModelPath} drafts no more: ${describe(error)}`),
		});
		return loadedModel(opened);
	}
}

/** Identifies the files that a model's paths lead to. The text is empty where a path leads nowhere. */
function filesOf({ modelPath, draftModelPath }: EngineSettings): string {
	try {
		const files = [modelPath, draftModelPath].filter((file) => file !== '').map((file) => statSync(file));
		return files.map(({ dev, ino, size, mtimeMs }) => `${dev} ${ino} ${size} ${mtimeMs}`).join();
	} catch {
		return '';
	}
}

/**
 * Whether a model's paths lead to other files than those it was opened from. A file that is gone is no reason to give
 * the open model up.
 */
function isReplaced(inUse: { load: Load; files: string } | undefined): boolean {
	const files = inUse ? filesOf(inUse.load.settings) : '';
	return files !== '' && files !== inUse?.files;
}
