// What a list of models says about each of them.
import type { MachineMemory } from '../machine/memory';
import type { Fit, MemoryNeed } from './memory-need';

/** What a model is good for: answering, completing code (fill-in-the-middle), guessing ahead for a larger model. */
export type ModelUse = 'chat' | 'completion' | 'draft';

/** The program or place a model was found in. */
export type ModelSource = 'hearth' | 'huggingface' | 'llama.cpp' | 'lm-studio' | 'ollama' | 'folder';

/** A model file on this machine. */
export interface FoundModel {
	/** Of the first file, where it is split. */
	path: string;
	name: string;
	source: ModelSource;
	/** Of all its files. */
	fileBytes: number;
	architecture?: string;
	parameterCount?: number;
	/** The tensor type most of it is in, by bytes: MXFP4, Q4_K… */
	quantisation?: string;
	contextLength?: number;
	uses: ModelUse[];
	/** Why this version cannot run it; absent: it can. */
	problem?: string;
	/** What is wrong in its file and does not matter, a sentence each. */
	notes?: string[];
	/** At the context and cache type of the settings; absent where the file does not say enough. */
	memory?: MemoryNeed;
	fit?: Fit;
}

/** A model that can be downloaded. */
export interface CatalogueModel {
	/** What `hearth fetch` calls it. */
	id: string;
	name: string;
	summary: string;
	/** SPDX identifier, or the publisher's own name of it; absent: see the page. */
	license?: string;
	/** The publisher's page. */
	page: string;
	/** Where it comes from. */
	host: string;
	/** Absent: the host says it when asked. */
	fileBytes?: number;
	uses: ModelUse[];
	problem?: string;
	memory?: MemoryNeed;
	fit?: Fit;
	/** Where it is on this machine, once files of its names are there. */
	path?: string;
	/** Nobody has verified them: they may be anything until the download has been asked for, which does it. */
	unverified?: true;
	/** Bytes of it that are there and would not be fetched again; absent: none, or all and verified. */
	partialBytes?: number;
}

export interface ModelFolders {
	/** Folders to look into beside the known ones; absolute. */
	folders: string[];
	/** Where downloads go; absent: the default. */
	downloadFolder?: string;
}

export interface ModelList {
	found: FoundModel[];
	catalogue: CatalogueModel[];
	memory: MachineMemory;
	downloadFolder: string;
	/** Of the disk the download folder is on. */
	freeDiskBytes: number;
}
