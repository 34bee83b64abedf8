// The models that one client has chosen, by its settings or by asking for a path. All clients share the loaded models.
import { type MemoryLimit, type MemoryShortage, NotEnoughMemoryError } from '../models/memory-need';
import { messageOf } from '../quote';
import type { EngineSettings, ModelRole } from '../settings';
import type { ModelSummary } from './loaded-model';
import { describe, log } from './log';
import { ModelHost } from './model-host';
import type { Models } from './models';
import { ROLES, settingsOf } from './roles';

/** Why a model of the settings could not be loaded. */
interface LoadFailure {
	error: string;
	/** Present where the model needs more memory than there is. */
	shortage?: MemoryShortage;
}

export class ModelChoice {
	readonly #models: Models;
	readonly #changed: () => void;
	readonly #onLoad: (loading: Promise<unknown>) => void;
	readonly #failures = new Map<ModelRole, LoadFailure>();

	/**
	 * @param changed is called after each change of `failure` that no answer to a request of the client reports.
	 * @param onLoad is called with each load that this client begins.
	 */
	constructor(models: Models, changed: () => void, onLoad: (loading: Promise<unknown>) => void) {
		this.#models = models;
		this.#changed = changed;
		this.#onLoad = onLoad;
	}

	/** Why a model of this client's settings is not in use. Undefined where all of them are. */
	get failure(): LoadFailure | undefined {
		return [...this.#failures.values()][0];
	}

	/**
	 * Loads the models of a new client's settings.
	 * @param mayReplace whether they may replace models that are in use already.
	 */
	start(settings: EngineSettings, mayReplace: boolean): void {
		for (const role of ROLES) {
			const own = settingsOf(role, settings);
			const { state } = this.#models.hosts[role].state;
			if (own && (mayReplace || state === 'no-model' || state === 'error')) void this.#loadConfigured(role, own);
		}
	}

	/** Loads and unloads what a change of the client's settings asks for. */
	change(before: EngineSettings, after: EngineSettings): void {
		for (const role of ROLES) {
			const [old, settings] = [settingsOf(role, before), settingsOf(role, after)];
			// Other clients may have chosen the model in use. Only a change of this client's own settings replaces it.
			if ((old && ModelHost.key(old)) === (settings && ModelHost.key(settings))) continue;
			if (settings) {
				void this.#loadConfigured(role, settings);
			} else {
				this.#failures.delete(role);
				// Another client may have loaded another model meanwhile. Only the model of this client's old settings is
				// unloaded.
				const host = this.#models.hosts[role];
				if (host.hasNoneBut(old!)) host.unload().catch((error) => log(`unloading: ${describe(error)}`));
			}
		}
	}

	/**
	 * Loads a model that the client asked for by its path.
	 * @param settings the client's settings for this load.
	 * @throws what `ModelHost.load` throws.
	 */
	async load(
		role: ModelRole,
		path: string,
		settings: EngineSettings,
		memoryLimit?: MemoryLimit,
	): Promise<ModelSummary> {
		const chosen = settingsOf(role, { ...settings, [role === 'chat' ? 'modelPath' : 'completionModelPath']: path });
		if (chosen) return this.#load(role, chosen, memoryLimit);
		// The path is that of the model that chats, so one model is to do both.
		await this.#models.hosts[role].unload();
		return this.load('chat', path, settings, memoryLimit);
	}

	async #loadConfigured(role: ModelRole, settings: EngineSettings): Promise<void> {
		try {
			await this.#load(role, settings);
		} catch (error) {
			this.#failures.set(role, {
				error: messageOf(error),
				...(error instanceof NotEnoughMemoryError && { shortage: error.shortage }),
			});
		}
		this.#changed();
	}

	async #load(role: ModelRole, settings: EngineSettings, memoryLimit?: MemoryLimit): Promise<ModelSummary> {
		const loading = this.#models.hosts[role].load(settings, memoryLimit);
		this.#onLoad(loading);
		const { summary } = await loading;
		this.#failures.delete(role);
		return summary;
	}
}
