// The models that all clients share: which one does a role's work, what they take of the machine together, and what else there is to
// choose from.
import type { MachineMemory } from '../machine/memory';
import { machineMemory } from '../machine/memory';
import { ModelFinder } from '../models/find';
import { listModels } from '../models/list';
import type { ModelFolders, ModelList } from '../models/listing';
import { StepArbiter } from '../runtime/step-arbiter';
import type { EngineSettings, ModelRole } from '../settings';
import type { LoadedModel } from './loaded-model';
import { ModelHost, type OpenModel } from './model-host';

export class Models {
	/** The model of each role; a role without one is done by the other's. */
	readonly hosts: Readonly<Record<ModelRole, ModelHost>>;
	readonly #finder = new ModelFinder();

	/** @param changed called after each change of a host's `state`. */
	constructor(changed: () => void, open?: OpenModel) {
		const arbiter = new StepArbiter();
		const host = (other: ModelRole) => new ModelHost(changed, open, () => this.#memoryBeside(other), arbiter);
		this.hosts = { chat: host('completion'), completion: host('chat') };
	}

	/** All models in use. */
	get loaded(): LoadedModel[] {
		return Object.values(this.hosts).flatMap(({ model }) => (model ? [model] : []));
	}

	/**
	 * The model that does a role's work: the one chosen for it, else the other one. Loads one again that was unloaded when idle.
	 * @throws NoModelError, or what loading throws.
	 */
	async modelFor(role: ModelRole): Promise<LoadedModel> {
		const own = this.hosts[role];
		const other = this.hosts[role === 'chat' ? 'completion' : 'chat'];
		switch (own.state.state) {
			case 'ready':
			case 'unloaded':
				return own.wakenModel();
			case 'loading':
				// A model that is being replaced works on. At the start the other role's model completes meanwhile, but chat waits
				// for the model that was chosen for it.
				return own.model ?? (role === 'completion' ? other.model : undefined) ?? own.wakenModel();
			default: {
				// The other model is asked for only here: a model that is there must not wait for it.
				const instead = other.model ?? (other.state.state === 'unloaded' ? await other.wakenModel() : undefined);
				const able = role === 'completion' || instead?.summary.chatFormat !== undefined;
				return (able ? instead : undefined) ?? own.requireModel();
			}
		}
	}

	/** Everything there is to choose from, judged by `settings` and by the memory that is there once these models have gone. */
	list(folders: ModelFolders, settings: EngineSettings, signal: AbortSignal): Promise<ModelList> {
		const memory = machineMemory();
		return listModels(this.#finder, folders, {
			settings,
			memory: { ...memory, availableBytes: memory.availableBytes + this.#heldBytes },
			signal,
		});
	}

	/** Frees all models. */
	async unload(): Promise<void> {
		await Promise.all(Object.values(this.hosts).map((host) => host.unload()));
	}

	/** Frees all models for good, once their running steps have ended. */
	async close(): Promise<void> {
		await Promise.all(Object.values(this.hosts).map((host) => host.close()));
	}

	/** Memory that unloading all models would give back, in bytes. */
	get #heldBytes(): number {
		return this.hosts.chat.heldBytes + this.hosts.completion.heldBytes;
	}

	/** What there is for one role's model beside the other's: all models of this process share the machine's memory. */
	#memoryBeside(other: ModelRole): MachineMemory {
		const { totalBytes, availableBytes } = machineMemory();
		const need = this.hosts[other].model?.need;
		// Mapped weights count as available, since the system could drop them; dropping them is what must not happen.
		const mapped = need?.weightBytes ?? 0;
		return {
			totalBytes: totalBytes - (need?.totalBytes ?? 0),
			availableBytes: Math.max(0, availableBytes - mapped),
		};
	}
}
