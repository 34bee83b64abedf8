// `hearth info MODEL`: shows what a model file holds, without loading its weights.
import { type DeviceId, type GgufHeader, loadNative } from '../../native/index';
import { chatText, familyOf } from '../families/choose';
import { tableLength } from '../gguf/metadata';
import { chooseBackend } from '../loading/backend';
import { machineMemory } from '../machine/memory';
import { describeModel } from '../models/describe';
import { needOfDraft } from '../models/draft-need';
import { readHeader } from '../models/header';
import type { Fit, MemoryNeed } from '../models/memory-need';
import { fitOf, type MemorySettings, needWith, withDraft } from '../models/memory-need';
import { text } from '../models/supported';
import { messageOf, printable } from '../quote';
import { Tokenizer } from '../tokenizer/tokenizer';
import { formatBytes, gpuName } from '../units';
import { parseCommandLine, writeJson, writeOutput } from './command';
import { formatCount } from './format';
import { MEMORY_OPTIONS, MEMORY_OPTIONS_HELP, memorySettings } from './memory-options';

const HELP = `usage: hearth info MODEL [options]

Prints a GGUF file's architecture, sizes, tensors by type, context and tokenizer, whether this version runs it and what it takes of
the memory, and what would compute here. Reads the header only.

${MEMORY_OPTIONS_HELP}
  --draft FILE     count a draft head, or a smaller model, that guesses ahead for it, too
  --json           print it as JSON
`;

interface Summary {
	path: string;
	fileBytes: number;
	ggufVersion: number;
	name: string;
	architecture: string;
	parameterCount: number;
	contextLength: number | undefined;
	/** The architecture's own numbers, e.g. block_count, as the file names them. */
	hyperparameters: Record<string, string | number | boolean>;
	tensorCount: number;
	tensorTypes: { type: string; count: number; bytes: number }[];
	/** Why this version cannot run the model. Absent where it can. */
	problem: string | undefined;
	/**
	 * How the model is prompted in a chat. It also says why the template in its file is not used, or why it cannot chat.
	 */
	chat: string;
	/** Faults of the file that do not matter, a sentence each. */
	notes: string[];
	/** Absent where the file does not say its sizes. */
	memory: (MemoryNeed & { fit: Fit; availableBytes: number }) | undefined;
	tokenizer: { model: string; pre: string; tokens: number; merges: number };
	/**
	 * What `--backend auto` means on this machine: the GPU's name, or the processor's kernels. `note` says why the CPU
	 * computes where a GPU could be expected.
	 */
	backend: { name: DeviceId; device?: string; kernels?: string; note?: string };
}

const OPTIONS = { ...MEMORY_OPTIONS, draft: { type: 'string' }, json: { type: 'boolean' } } as const;

export async function info(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, OPTIONS, ['MODEL']);
	const file = positionals[0]!;
	const draft = values.draft === undefined ? undefined : await readHeader(values.draft);
	const summary = summarize(file, await readHeader(file), memorySettings(values), draft);
	await (values.json ? writeJson(summary) : writeOutput(render(summary)));
}

function summarize(file: string, header: GgufHeader, settings: MemorySettings, draft: GgufHeader | undefined): Summary {
	const { metadata, tensors } = header;
	const architecture = text(metadata.get('general.architecture'));
	const hyperparameters: Summary['hyperparameters'] = {};
	for (const [key, value] of metadata) {
		if (!key.startsWith(`${architecture}.`)) continue;
		if (typeof value === 'bigint') hyperparameters[key.slice(architecture.length + 1)] = Number(value);
		else if (typeof value !== 'object') hyperparameters[key.slice(architecture.length + 1)] = value;
	}
	const types = new Map<string, { type: string; count: number; bytes: number }>();
	let parameterCount = 0;
	for (const { type, bytes, shape } of tensors) {
		const total = types.get(type) ?? { type, count: 0, bytes: 0 };
		types.set(type, { type, count: total.count + 1, bytes: total.bytes + bytes });
		parameterCount += shape.reduce((product, length) => product * length, 1);
	}
	const { context_length: contextLength } = hyperparameters;
	const { sizes, problem, notes = [] } = describeModel(header);
	const own = sizes && needWith(sizes, settings);
	const beside = draft && needOfDraft(draft, header, settings);
	const need = own && beside ? withDraft(own, beside) : own;
	const machine = machineMemory();
	return {
		path: file,
		fileBytes: header.fileBytes,
		ggufVersion: header.version,
		name: text(metadata.get('general.name')),
		architecture,
		parameterCount,
		contextLength: typeof contextLength === 'number' ? contextLength : undefined,
		hyperparameters,
		tensorCount: tensors.length,
		tensorTypes: [...types.values()].sort((a, b) => b.bytes - a.bytes),
		problem,
		chat: chatOf(header),
		notes,
		memory: need && { ...need, fit: fitOf(need, machine), availableBytes: machine.availableBytes },
		tokenizer: {
			model: text(metadata.get('tokenizer.ggml.model')),
			pre: text(metadata.get('tokenizer.ggml.pre')),
			tokens: tableLength(metadata.get('tokenizer.ggml.tokens')),
			merges: tableLength(metadata.get('tokenizer.ggml.merges')),
		},
		backend: backendHere(),
	};
}

function chatOf(header: GgufHeader): string {
	try {
		return chatText(familyOf(header, Tokenizer.fromGguf(header)));
	} catch (error) {
		return `not possible: ${messageOf(error)}`;
	}
}

function backendHere(): Summary['backend'] {
	const native = loadNative();
	const devices = native.devices();
	const gpus = devices.filter(({ kind, onThisSystem }) => kind === 'gpu' && onThisSystem);
	const { backend, note } = chooseBackend('auto', devices, undefined);
	const used = gpus.find(({ id, reason }) => reason === undefined && (backend === 'auto' || backend === id));
	if (used) return { name: used.id, ...(used.hardware !== undefined && { device: used.hardware }) };
	const reason = note ?? gpus[0]?.reason;
	return { name: 'cpu', kernels: native.cpuInfo().kernels[0]!, ...(reason !== undefined && { note: reason }) };
}

function render(summary: Summary): string {
	const { tokenizer } = summary;
	const rows: [string, string][] = [
		['file', `${summary.path} (${formatBytes(summary.fileBytes)}, GGUF ${summary.ggufVersion})`],
		['name', summary.name || '(none)'],
		['architecture', summary.architecture || '(none)'],
		['parameters', formatCount(summary.parameterCount)],
		['context', summary.contextLength === undefined ? '(not given)' : `${summary.contextLength} tokens`],
		...Object.entries(summary.hyperparameters)
			.filter(([key]) => key !== 'context_length')
			.map(([key, value]): [string, string] => [key, shown(value)]),
		['runs here', summary.problem === undefined ? 'yes' : `no: ${summary.problem}`],
		['chat', summary.chat],
		...(summary.memory ? memoryRows(summary.memory) : []),
		['tensors', String(summary.tensorCount)],
		...summary.tensorTypes.map(({ type, count, bytes }): [string, string] => [
			`  ${type}`,
			`${count} (${formatBytes(bytes)})`,
		]),
		['tokenizer', `${tokenizer.model || '(none)'} ${tokenizer.pre}`.trim()],
		['  vocabulary', `${tokenizer.tokens} tokens, ${tokenizer.merges} merges`],
		...summary.notes.map((note): [string, string] => ['note', note]),
		['computes on', computesOn(summary.backend)],
	];
	const width = Math.max(...rows.map(([label]) => label.length));
	return rows.map(([label, value]) => `${label.padEnd(width)}  ${printable(value)}\n`).join('');
}

function computesOn({ name, device, kernels, note }: Summary['backend']): string {
	const gpu = gpuName(name);
	return gpu !== undefined
		? `${gpu}, ${device}`
		: `the CPU, ${kernels} kernels${note === undefined ? '' : ` (${note})`}`;
}

function memoryRows(memory: NonNullable<Summary['memory']>): [string, string][] {
	const fits = {
		fits: 'it fits',
		tight: 'it fits if other programs give some up',
		'too-large': 'too much for this machine',
	};
	return [
		[
			'memory',
			`${formatBytes(memory.totalBytes)}, of ${formatBytes(memory.availableBytes)} available: ${fits[memory.fit]}`,
		],
		['  weights', formatBytes(memory.weightBytes)],
		['  KV cache', formatBytes(memory.cacheBytes)],
		['  the rest', formatBytes(memory.scratchBytes)],
		...(memory.draftBytes === undefined
			? []
			: [['  of it, the draft', formatBytes(memory.draftBytes)] as [string, string]]),
	];
}

/** A float32 of the file as it was meant: 0.00001, not 0.000009999999747378752. */
function shown(value: string | number | boolean): string {
	return typeof value === 'number' ? String(Number(value.toPrecision(7))) : String(value);
}
