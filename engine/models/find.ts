// Finds the models that are on this machine already. It looks into the folders of programs that keep models, reads the
// headers, and says of each model what it is, whether it fits and whether this version can run it. A broken file is no
// error: it is listed with what is wrong with it.
import { open, readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { MachineMemory } from '../machine/memory';
import { printable } from '../quote';
import { describeModel, type ModelDescription } from './describe';
import { displayName, PART } from './display-name';
import { readHeader } from './header';
import type { FoundModel, ModelSource } from './listing';
import { fitOf, type MemorySettings, needWith } from './memory-need';
import { ollamaModels } from './ollama';
import type { Place } from './places';
import { withoutFile } from './supported';

/**
 * The most files and folders that are looked at in one place. So the search ends soon even where the user gave a home
 * folder by mistake.
 */
const MOST_FILES = 300;
const MOST_FOLDERS = 3000;
/** The deepest of the known layouts is models--ORG--NAME/snapshots/REVISION/FOLDER/FILE. */
const MOST_DEPTH = 6;
/** Headers that are read at once. Each is parsed on a thread of its own. */
const PARALLEL = 2;

/** A model file, or the parts of a split one, before it is opened. */
interface Candidate {
	source: ModelSource;
	/** The file, or the first part. */
	path: string;
	/** The name that the program which keeps the model gives it. */
	name?: string;
	parts: string[];
	/** The number of parts according to the file's name. */
	partCount: number;
}

interface FindOptions {
	places: readonly Place[];
	settings: MemorySettings;
	memory: MachineMemory;
	signal?: AbortSignal;
}

interface Described {
	bytes: number;
	modified: number;
	description: ModelDescription | { problem: string };
}

/** Finds models. Keeps what it has read of a file for as long as the file stays the same. */
export class ModelFinder {
	readonly #known = new Map<string, Described>();

	/**
	 * All models of the places, in the order of the places and by path within each. A file that several places lead to is
	 * listed once.
	 */
	async find({ places, settings, memory, signal }: FindOptions): Promise<FoundModel[]> {
		const seen = new Set<string>();
		const candidates: Candidate[] = [];
		for (const place of places) {
			for (const candidate of await candidatesIn(place, signal)) {
				// The same file may be reached by links, of which the Hugging Face cache consists, or by folders inside one
				// another.
				const real = await realpath(candidate.path).catch(() => undefined);
				if (real === undefined || seen.has(real)) continue;
				seen.add(real);
				candidates.push(candidate);
			}
		}
		const found: (FoundModel | undefined)[] = [];
		let next = 0;
		const work = async () => {
			while (next < candidates.length && !signal?.aborted) {
				const index = next++;
				found[index] = await this.#describe(candidates[index]!, settings, memory);
			}
		};
		await Promise.all(Array.from({ length: PARALLEL }, work));
		return found.filter((model) => model !== undefined);
	}

	/** Undefined for what is no file or no model, such as an empty file or a blob of another kind. */
	async #describe(
		{ source, path: file, name, parts, partCount }: Candidate,
		settings: MemorySettings,
		memory: MachineMemory,
	): Promise<FoundModel | undefined> {
		const described = await this.#read(file);
		if (!described) return undefined;
		const { description } = described;
		let fileBytes = described.bytes;
		for (const part of parts.slice(1)) fileBytes += (await stat(part).catch(() => undefined))?.size ?? 0;
		const { sizes, name: ownName, ...facts } = { sizes: undefined, name: undefined, uses: [], ...description };
		const problem = partCount > 1 ? splitProblem(partCount, parts.length) : facts.problem;
		const need = sizes && needWith({ ...sizes, weightBytes: fileBytes }, settings);
		return {
			path: file,
			name: name ?? displayName(file, ownName),
			source,
			fileBytes,
			...facts,
			...(problem !== undefined && { problem }),
			...(need && { memory: need, fit: fitOf(need, memory) }),
		};
	}

	async #read(file: string): Promise<Described | undefined> {
		const stats = await stat(file).catch(() => undefined);
		// Reading from a pipe or a device would wait for ever.
		if (!stats?.isFile() || stats.size === 0) return undefined;
		const known = this.#known.get(file);
		if (known?.bytes === stats.size && known.modified === stats.mtimeMs) return known;
		// A blob without a name may be anything.
		if (!/\.gguf$/i.test(file) && (await firstBytes(file, 4)) !== 'GGUF') return undefined;
		const described: Described = {
			bytes: stats.size,
			modified: stats.mtimeMs,
			description: await readHeader(file).then(describeModel, ({ message }: Error) => ({
				// The list shows the file's name beside the problem.
				problem: printable(withoutFile(message, file)),
			})),
		};
		this.#known.set(file, described);
		return described;
	}
}

/** The candidates of a place. A split model is one candidate. */
async function candidatesIn({ source, folder }: Place, signal: AbortSignal | undefined): Promise<Candidate[]> {
	if (source === 'ollama') {
		const models = await ollamaModels(folder, MOST_FILES);
		return models.map(({ name, file }) => ({ source, path: file, name, parts: [file], partCount: 1 }));
	}
	const files = await ggufFiles(folder, signal);
	const split = new Map<string, Candidate>();
	const candidates: Candidate[] = [];
	for (const file of files.sort()) {
		const [, , count] = PART.exec(file) ?? [];
		if (count === undefined || Number(count) < 2) {
			candidates.push({ source, path: file, parts: [file], partCount: 1 });
			continue;
		}
		const key = file.replace(PART, `-of-${count}`);
		const other = split.get(key);
		if (other) {
			other.parts.push(file);
			continue;
		}
		const candidate = { source, path: file, parts: [file], partCount: Number(count) };
		split.set(key, candidate);
		candidates.push(candidate);
	}
	return candidates;
}

/** The GGUF files below a folder, breadth first. Links are followed, and loops are noticed. */
async function ggufFiles(root: string, signal: AbortSignal | undefined): Promise<string[]> {
	const files: string[] = [];
	const visited = new Set<string>();
	let level = [root];
	for (let depth = 0; depth <= MOST_DEPTH && level.length > 0; depth++) {
		const next: string[] = [];
		for (const folder of level) {
			if (signal?.aborted || visited.size >= MOST_FOLDERS) return files;
			const real = await realpath(folder).catch(() => undefined);
			if (real === undefined || visited.has(real)) continue;
			visited.add(real);
			for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
				const at = path.join(folder, entry.name);
				if (/\.gguf$/i.test(entry.name)) {
					if (entry.isDirectory() || files.length >= MOST_FILES) continue;
					files.push(at);
				} else if (entry.isDirectory()) {
					next.push(at);
				} else if (entry.isSymbolicLink() && (await stat(at).catch(() => undefined))?.isDirectory()) {
					next.push(at);
				}
			}
		}
		level = next;
	}
	return files;
}

function splitProblem(count: number, present: number): string {
	const missing = present < count ? `, of which ${count - present} are missing here` : '';
	return `it is split into ${count} files${missing}; join them with "llama-gguf-split --merge FIRST OUT" first`;
}

/** The first bytes of a file, as text. Undefined where the file cannot be read. */
async function firstBytes(file: string, count: number): Promise<string | undefined> {
	try {
		const handle = await open(file);
		try {
			const { bytesRead, buffer } = await handle.read(Buffer.alloc(count), 0, count, 0);
			return buffer.toString('latin1', 0, bytesRead);
		} finally {
			await handle.close();
		}
	} catch {
		return undefined;
	}
}
