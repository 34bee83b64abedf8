// The models that all clients share: which model does a role's work, how the models share the machine's memory, and
// which other models there are to choose from.
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
	/** The host of each role's model. Where a role has no model, the other role's model does its work. */
	readonly hosts: Readonly<Record<ModelRole, ModelHost>>;
	readonly #finder = new ModelFinder();

	/** @param changed is called after each change of a host's `state`. */
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
	 * The model that does a role's work: the model chosen for that role, or else the other role's. A model that was
	 * unloaded when idle is loaded again.
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
				// A model that is being replaced works on. If the role had none before, completions use the other role's model
				// meanwhile, but chat waits for the model that was chosen for it.
				return own.model ?? (role === 'completion' ? other.model : undefined) ?? own.wakenModel();
			default: {
				// A sleeping model of the other role is woken only here: a role's own model must not wait for it.
				const instead = other.model ?? (other.state.state === 'unloaded' ? await other.wakenModel() : undefined);
				const able = role === 'completion' || instead?.summary.chatFormat !== undefined;
				return (able ? instead : undefined) ?? own.requireModel();
			}
		}
	}

	/**
	 * All models there are to choose from. Each is judged by `settings` and by the memory that is available once the
	 * models in use have been unloaded.
	 */
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

	/** The memory that one role's model may count on beside the other role's model: both share the machine's memory. */
	#memoryBeside(other: ModelRole): MachineMemory {
		const { totalBytes, availableBytes } = machineMemory();
		const need = this.hosts[other].model?.need;
		// The system counts mapped weights as available memory, since it could drop them. The other model would then read
		// its weights from the disk again and again, so they are taken off here.
		const mapped = need?.weightBytes ?? 0;
		return {
			totalBytes: totalBytes - (need?.totalBytes ?? 0),
			availableBytes: Math.max(0, availableBytes - mapped),
		};
	}
}
