// What a list of models says about each model.
import type { MachineMemory } from '../machine/memory';
import type { Fit, MemoryNeed } from './memory-need';

/** What a model is good for: to chat, to complete code (fill-in-the-middle), or to draft for a larger model. */
export type ModelUse = 'chat' | 'completion' | 'draft';

/** The program or place that a model was found in. */
export type ModelSource = 'hearth' | 'huggingface' | 'llama.cpp' | 'lm-studio' | 'ollama' | 'folder';

/** A model file on this machine. */
export interface FoundModel {
	/** Path of the file. For a split model, it is the path of the first part. */
	path: string;
	name: string;
	source: ModelSource;
	/** Bytes of all its files. */
	fileBytes: number;
	architecture?: string;
	parameterCount?: number;
	/** The tensor type that most of its bytes are in, e.g. MXFP4 or Q4_K. */
	quantisation?: string;
	contextLength?: number;
	uses: ModelUse[];
	/** Why this version cannot run the model. Absent where it can. */
	problem?: string;
	/** Faults of the file that do not matter, a sentence each. */
	notes?: string[];
	/**
	 * The memory that the model takes with the context and cache type of the settings. Absent where the file does not say
	 * enough.
	 */
	memory?: MemoryNeed;
	fit?: Fit;
}

/** A model that can be downloaded. */
export interface CatalogueModel {
	/** The id that `hearth fetch` takes. */
	id: string;
	name: string;
	summary: string;
	/** The licence: an SPDX identifier, or the publisher's own name of it. Absent: the page tells it. */
	license?: string;
	/** The publisher's page of the model. */
	page: string;
	/** The host that sends the files. */
	host: string;
	/** Absent where only the host knows the size. */
	fileBytes?: number;
	uses: ModelUse[];
	problem?: string;
	memory?: MemoryNeed;
	fit?: Fit;
	/** Where the model is on this machine, once files of its names are there. */
	path?: string;
	/** Present where the files have not been verified: they may be anything. Asking for the download verifies them. */
	unverified?: true;
	/**
	 * Bytes that are there already and would not be fetched again. Absent where there are none, or where all files are
	 * there and verified.
	 */
	partialBytes?: number;
}

export interface ModelFolders {
	/** Folders to look into beside the known ones. The paths are absolute. */
	folders: string[];
	/** The folder of downloads. Absent: the default. */
	downloadFolder?: string;
}

export interface ModelList {
	found: FoundModel[];
	catalogue: CatalogueModel[];
	memory: MachineMemory;
	downloadFolder: string;
	/** Free bytes on the disk of the download folder. */
	freeDiskBytes: number;
}
