// `hearth models`: lists the models on this machine and those that can be fetched.
import path from 'node:path';
import { machineMemory } from '../machine/memory';
import { ModelFinder } from '../models/find';
import { listModels } from '../models/list';
import type { CatalogueModel, FoundModel, ModelList } from '../models/listing';
import type { MemoryNeed } from '../models/memory-need';
import { printable } from '../quote';
import { formatBytes } from '../units';
import { parseCommandLine, withInterrupt, writeJson, writeOutput } from './command';
import { formatCount } from './format';
import { MEMORY_OPTIONS, MEMORY_OPTIONS_HELP, memorySettings } from './memory-options';

const HELP = `usage: hearth models [options]

Lists the models on this machine (Hearth's own, those of the Hugging Face and llama.cpp caches, LM Studio and Ollama) and those
that "hearth fetch" can get: what they are, whether this version runs them and whether they fit into memory.

  --folder PATH    look into this folder, too; may be given several times
${MEMORY_OPTIONS_HELP}
  --json           print the list as JSON
`;

const OPTIONS = {
	...MEMORY_OPTIONS,
	folder: { type: 'string', multiple: true },
	json: { type: 'boolean' },
} as const;

const FITS = { fits: 'fits', tight: 'tight', 'too-large': 'too large' };

export async function models(args: string[]): Promise<void> {
	const { values } = parseCommandLine(args, HELP, OPTIONS, []);
	const settings = memorySettings(values);
	const folders = (values.folder ?? []).map((folder) => path.resolve(folder));
	const list = await withInterrupt((signal) =>
		listModels(new ModelFinder(), { folders }, { settings, memory: machineMemory(), signal }),
	);
	await (values.json ? writeJson(list) : writeOutput(render(list)));
}

const FOUND_HEAD = ['model', 'kept by', 'architecture', 'parameters', 'weights', 'size', 'good for', 'memory', 'file'];
const OFFERED_HEAD = ['name', 'size', 'licence', 'good for', 'memory'];

function render({ found, catalogue, memory, downloadFolder, freeDiskBytes }: ModelList): string {
	const offered = catalogue.filter(({ path: there, unverified }) => there === undefined || unverified);
	return [
		`memory: ${formatBytes(memory.availableBytes)} of ${formatBytes(memory.totalBytes)} available`,
		'',
		...(found.length === 0 ? ['no models on this machine'] : columns([FOUND_HEAD, ...found.map(foundRow)])),
		'',
		`to be had with "hearth fetch NAME", into ${downloadFolder} (${formatBytes(freeDiskBytes)} free):`,
		'',
		...columns([OFFERED_HEAD, ...offered.map(offeredRow)]),
		'',
	].join('\n');
}

/** Rows as text in left-aligned columns. */
function columns(rows: string[][]): string[] {
	const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
	return rows.map((row) =>
		row
			.map((cell, column) => cell.padEnd(widths[column]!))
			.join('  ')
			.trimEnd(),
	);
}

function foundRow(model: FoundModel): string[] {
	const { name, source, architecture, parameterCount, quantisation, fileBytes, uses, problem } = model;
	return [
		...[
			printable(name),
			source,
			architecture ?? '',
			parameterCount ? formatCount(parameterCount) : '',
			quantisation ?? '',
		],
		...[formatBytes(fileBytes), uses.join(', '), problem ? printable(problem) : needText(model)],
		printable(model.path),
	];
}

function offeredRow(model: CatalogueModel): string[] {
	const { id, fileBytes, uses, license, problem, partialBytes, unverified } = model;
	const here = partialBytes
		? `; ${formatBytes(partialBytes)} are here already${unverified ? ', not verified' : ''}`
		: '';
	return [
		...[id, fileBytes === undefined ? '' : formatBytes(fileBytes), license ?? 'see its page', uses.join(', ')],
		problem ?? `${needText(model)}${here}`,
	];
}

function needText({ memory, fit }: { memory?: MemoryNeed; fit?: FoundModel['fit'] }): string {
	return memory && fit ? `${FITS[fit]}: needs ${formatBytes(memory.totalBytes)}` : '';
}
