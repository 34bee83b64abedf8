// The models that one client has chosen, by its settings or by asking for a path; all clients share what is loaded.
import { type MemoryLimit, type MemoryShortage, NotEnoughMemoryError } from '../models/memory-need';
import { messageOf } from '../quote';
import type { EngineSettings, ModelRole } from '../settings';
import type { ModelSummary } from './loaded-model';
import { describe, log } from './log';
import { ModelHost } from './model-host';
import type { Models } from './models';
import { ROLES, settingsOf } from './roles';

/** Why a model is not the one in use, in one line. */
interface LoadFailure {
	error: string;
	/** Where it is that memory is short. */
	shortage?: MemoryShortage;
}

export class ModelChoice {
	readonly #models: Models;
	readonly #changed: () => void;
	readonly #onLoad: (loading: Promise<unknown>) => void;
	readonly #failures = new Map<ModelRole, LoadFailure>();

	/**
	 * @param changed called after each change of `failure` that no request of the client answers.
	 * @param onLoad told of each loading that this client begins.
	 */
	constructor(models: Models, changed: () => void, onLoad: (loading: Promise<unknown>) => void) {
		this.#models = models;
		this.#changed = changed;
		this.#onLoad = onLoad;
	}

	/** Why a model of this client's settings is not in use. */
	get failure(): LoadFailure | undefined {
		return [...this.#failures.values()][0];
	}

	/**
	 * Loads the models of a new client's settings.
	 * @param mayReplace whether also where a model is in use already.
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
			// Only a change of this client's own settings replaces the model that others may have chosen.
			if ((old && ModelHost.key(old)) === (settings && ModelHost.key(settings))) continue;
			if (settings) {
				void this.#loadConfigured(role, settings);
			} else {
				this.#failures.delete(role);
				// Nor does it take away one that was never this client's.
				const host = this.#models.hosts[role];
				if (host.hasNoneBut(old!)) host.unload().catch((error) => log(`unloading: ${describe(error)}`));
			}
		}
	}

	/**
	 * Loads a model that the client asked for by its path.
	 * @param settings of the client, for this load.
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
		// The one that chats is to complete as well.
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
