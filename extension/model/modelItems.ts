// What "Select Model…" shows of each model. This file does not use VS Code.
import type {
	CatalogueModel,
	FoundModel,
	MachineMemory,
	MemoryNeed,
	MemoryShortage,
	ModelSource,
} from '../../engine/protocol';
import { formatBytes } from '../../engine/units';

/** A row of the list, without what happens when it is chosen. */
interface ModelRow {
	label: string;
	description: string;
	detail: string;
}

const SOURCES: Record<ModelSource, string> = {
	hearth: 'downloaded by Hearth',
	huggingface: 'Hugging Face cache',
	'llama.cpp': 'llama.cpp cache',
	'lm-studio': 'LM Studio',
	ollama: 'Ollama',
	folder: 'your folder',
};
const USES = { chat: 'chat', completion: 'completions', draft: 'draft' };

/** Sorts models that can be run before the others, and among them those that fit the memory first. */
export function byUsefulness(a: FoundModel, b: FoundModel): number {
	const rank = ({ problem, fit }: FoundModel) =>
		problem !== undefined ? 3 : fit === 'too-large' ? 2 : fit === 'tight' ? 1 : 0;
	return rank(a) - rank(b);
}

export function foundRow(model: FoundModel, memory: MachineMemory, inUse: boolean): ModelRow {
	const { name, architecture, parameterCount, quantisation, fileBytes, source, uses, problem } = model;
	const icon = problem !== undefined ? '$(circle-slash) ' : inUse ? '$(check) ' : '';
	return {
		label: `${icon}${name}`,
		description: listed([
			architecture,
			parameterCount ? formatCount(parameterCount) : undefined,
			quantisation,
			formatBytes(fileBytes),
		]),
		detail: listed([
			inUse ? 'in use' : undefined,
			problem === undefined ? fitText(model, memory) : `cannot be run: ${problem}`,
			usesText(uses),
			SOURCES[source],
		]),
	};
}

export function offeredRow(model: CatalogueModel, memory: MachineMemory): ModelRow {
	const { name, fileBytes, license, host, uses, summary, problem, partialBytes, unverified } = model;
	return {
		label: `${problem === undefined ? '$(cloud-download)' : '$(circle-slash)'} ${name}`,
		description: listed([
			fileBytes === undefined ? undefined : formatBytes(fileBytes),
			license ?? 'licence: see its page',
			host,
			partialBytes ? `${formatBytes(partialBytes)} are here already${unverified ? ', not verified' : ''}` : undefined,
		]),
		detail: listed([
			problem === undefined ? fitText(model, memory) : `cannot be run: ${problem}`,
			usesText(uses),
			summary,
		]),
	};
}

/** What the user agrees to before anything is downloaded. */
export function downloadTerms(
	{ name, license, host, page, fit, memory: need, partialBytes = 0 }: CatalogueModel,
	fileBytes: number,
	{ downloadFolder, freeDiskBytes, memory }: { downloadFolder: string; freeDiskBytes: number; memory: MachineMemory },
): { title: string; detail: string; button: string } {
	return {
		title: `Download ${name}?`,
		detail: [
			partialBytes > 0
				? `${formatBytes(fileBytes - partialBytes)} of ${formatBytes(fileBytes)} are still to come from ${host}.`
				: `${formatBytes(fileBytes)} from ${host}.`,
			`Licence: ${license ?? 'see its page'}. ${page}`,
			`Into ${downloadFolder}, where ${formatBytes(freeDiskBytes)} are free.`,
			...(need && fit ? [`Memory: ${fitText({ memory: need, fit }, memory)}.`] : []),
		].join('\n\n'),
		button: fit === 'too-large' ? 'Download Anyway' : 'Download',
	};
}

/** One thing that the user can do about a model that needs too much memory. */
interface MemoryChoice {
	label: string;
	load?: {
		memoryLimit: 'none' | 'machine';
		settings?: MemoryShortage['alternatives'][number];
	};
}

export function memoryChoices({ need, memory, path, alternatives }: MemoryShortage): {
	message: string;
	detail: string;
	choices: MemoryChoice[];
} {
	const name = path.split(/[\\/]/).pop() ?? path;
	return {
		message: `${name} needs ${formatBytes(need.totalBytes)} of memory; ${formatBytes(memory.availableBytes)} of ${formatBytes(memory.totalBytes)} are available.`,
		detail:
			`${needText(need)}. Loaded all the same, it is read from the disk again and again, and everything else slows down. ` +
			'It also helps to close other programs.',
		choices: [
			...alternatives.map((settings) => ({
				label: `Context of ${settings.contextTokens.toLocaleString('en')} tokens, ${settings.cacheType} cache`,
				load: { memoryLimit: 'machine' as const, settings },
			})),
			{ label: 'Choose Another Model…' },
			{ label: 'Load Anyway', load: { memoryLimit: 'none' } },
		],
	};
}

function fitText({ memory: need, fit }: Pick<FoundModel, 'memory' | 'fit'>, memory: MachineMemory): string {
	if (!need || !fit) return '';
	const needs = `needs ${formatBytes(need.totalBytes)}`;
	switch (fit) {
		case 'fits':
			return `fits: ${needs} of ${formatBytes(memory.availableBytes)}`;
		case 'tight':
			return `tight: ${needs}, ${formatBytes(memory.availableBytes)} are available now`;
		case 'too-large':
			return `too large: ${needs}, this machine has ${formatBytes(memory.totalBytes)}`;
	}
}

function needText({ weightBytes, cacheBytes, scratchBytes }: MemoryNeed): string {
	return `Weights ${formatBytes(weightBytes)}, cache ${formatBytes(cacheBytes)}, computing ${formatBytes(scratchBytes)}`;
}

function usesText(uses: FoundModel['uses']): string {
	return uses.map((use) => USES[use]).join(', ');
}

function listed(parts: (string | undefined)[]): string {
	return parts.filter((part) => part !== undefined && part !== '').join(' · ');
}

/** A count in the way that sizes of models are given: 20.9 B, 350 M. */
function formatCount(count: number): string {
	return count >= 1e9 ? `${(count / 1e9).toFixed(1)} B` : `${Math.round(count / 1e6)} M`;
}
