// The models that Hearth offers to download. The facts are in catalogue.json. Each size and SHA-256 is the one that the
// publisher's host states (Git LFS pointers of the pinned revision). A file without a SHA-256 is verified against the
// checksum that the host states when the file is fetched.
import { readFileSync, statSync } from 'node:fs';
import type { MachineMemory } from '../machine/memory';
import { messageOf, quote } from '../quote';
import data from './catalogue.json';
import type { CatalogueModel, ModelUse } from './listing';
import { fitOf, type MemorySettings, type ModelSizes, needWith } from './memory-need';
import { whyUnsupported } from './supported';

/** A file to fetch. */
interface CatalogueFile {
	url: string;
	bytes?: number;
	/** Lower-case hexadecimal. */
	sha256?: string;
}

export interface CatalogueEntry {
	id: string;
	name: string;
	summary: string;
	license?: string;
	page: string;
	/** One GGUF, or the files of a folder. */
	files: [CatalogueFile, ...CatalogueFile[]];
	uses: ModelUse[];
	architecture: string;
	matrixTypes: string[];
	sizes?: Omit<ModelSizes, 'weightBytes'>;
}

/** The environment variable that names another catalogue: for mirrors inside an organisation, and for tests. */
const OTHER_CATALOGUE = 'HEARTH_CATALOGUE';
const MOST_CATALOGUE_BYTES = 4 * 2 ** 20;

/**
 * All models of the catalogue.
 * @throws a one-line error where the file that HEARTH_CATALOGUE names cannot be used.
 */
export function catalogue(): CatalogueEntry[] {
	const file = process.env[OTHER_CATALOGUE];
	if (!file) return checked(data);
	try {
		const stats = statSync(file);
		// Reading from a pipe or a device would block for ever, and all clients with it.
		if (!stats.isFile()) throw new Error('it is no file');
		if (stats.size > MOST_CATALOGUE_BYTES) throw new Error(`it has ${stats.size} bytes`);
		return checked(JSON.parse(readFileSync(file, 'utf8')));
	} catch (error) {
		throw new Error(`${OTHER_CATALOGUE}: ${file} cannot be used: ${messageOf(error)}`);
	}
}

/**
 * The model of an id.
 * @throws an error that names the models there are.
 */
export function catalogueEntry(id: string): CatalogueEntry {
	const entries = catalogue();
	const entry = entries.find((candidate) => candidate.id === id);
	if (!entry) throw new Error(`there is no model ${quote(id)}; there are ${entries.map((each) => each.id).join(', ')}`);
	return entry;
}

/** Bytes of all files of a model. Undefined where the host has to be asked for them. */
export function totalBytes({ files }: CatalogueEntry): number | undefined {
	return files.reduce<number | undefined>(
		(sum, { bytes }) => (sum === undefined || bytes === undefined ? undefined : sum + bytes),
		0,
	);
}

/** The name that a file gets on the disk: the last part of its address. */
export function fileName(url: string): string {
	const name = decodeURIComponent(new URL(url).pathname.split('/').pop() ?? '');
	// The name must not lead out of the folder, and must not be one that Windows takes for something else.
	if (!/^[\w.+@-]{1,200}$/.test(name) || name.startsWith('.'))
		throw new Error(`${quote(url)} ends with no usable file name`);
	return name;
}

/** Describes a catalogue's model for users, except where the model is on the disk. */
export function describeEntry(entry: CatalogueEntry, settings: MemorySettings, memory: MachineMemory): CatalogueModel {
	const { id, name, summary, license, page, uses, sizes } = entry;
	const fileBytes = totalBytes(entry);
	const problem = entry.architecture === 'eagle3' ? undefined : whyUnsupported(entry);
	const need = sizes && fileBytes !== undefined ? needWith({ ...sizes, weightBytes: fileBytes }, settings) : undefined;
	return {
		...{ id, name, summary, page, uses, host: new URL(entry.files[0].url).host },
		...(license !== undefined && { license }),
		...(fileBytes !== undefined && { fileBytes }),
		...(problem !== undefined && { problem }),
		...(need && { memory: need, fit: fitOf(need, memory) }),
	};
}

function checked(value: unknown): CatalogueEntry[] {
	const { models } = value as { models?: unknown };
	if (!Array.isArray(models)) throw new Error('it has no list "models"');
	for (const model of models as Partial<CatalogueEntry>[]) {
		const { id, name, page, files, uses, matrixTypes } = model;
		const texts = [id, name, page, model.summary, model.architecture];
		if (!texts.every((text) => typeof text === 'string')) throw new Error('a model lacks one of its texts');
		if (!/^[\w.+-]{1,100}$/.test(id!) || id!.startsWith('.')) throw new Error(`${quote(id!)} cannot be an id`);
		if (!Array.isArray(uses) || !Array.isArray(matrixTypes)) throw new Error(`${id} lacks its uses or matrixTypes`);
		if (!Array.isArray(files) || files.length === 0) throw new Error(`${id} has no files`);
		for (const { url, bytes, sha256 } of files) {
			fileName(url);
			if (bytes !== undefined && !(Number.isSafeInteger(bytes) && bytes > 0))
				throw new Error(`${quote(url)}: bytes is no size`);
			if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
				throw new Error(`${quote(url)}: sha256 is no SHA-256`);
		}
	}
	return models as CatalogueEntry[];
}
