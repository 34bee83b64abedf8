// `hearth info MODEL`: what a model file holds, without loading its weights.
import { type GgufHeader, loadNative, type MetadataValue, type StringTable } from '../../native/index';
import { chooseBackend } from '../runtime/backend';
import { readHeader } from '../runtime/model';
import { parseCommandLine, writeJson, writeOutput } from './command';
import { formatBytes, formatCount } from './format';

const HELP = `usage: hearth info MODEL [--json]

Prints a GGUF file's architecture, sizes, tensors by type, context and tokenizer, and what would compute here. Reads the header
only.
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
	tokenizer: { model: string; pre: string; tokens: number; merges: number };
	/** What `--backend auto` means on this machine: the GPU's name, or the processor's kernels and, where it could be otherwise, why. */
	backend: { name: 'cpu' | 'metal'; device?: string; kernels?: string; note?: string };
}

export async function info(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, HELP, { json: { type: 'boolean' } }, ['MODEL']);
	const file = positionals[0]!;
	const summary = summarize(file, await readHeader(file));
	await (values.json ? writeJson(summary) : writeOutput(render(summary)));
}

function summarize(file: string, header: GgufHeader): Summary {
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
		tokenizer: {
			model: text(metadata.get('tokenizer.ggml.model')),
			pre: text(metadata.get('tokenizer.ggml.pre')),
			tokens: tableLength(metadata.get('tokenizer.ggml.tokens')),
			merges: tableLength(metadata.get('tokenizer.ggml.merges')),
		},
		backend: backendHere(),
	};
}

function backendHere(): Summary['backend'] {
	const native = loadNative();
	const metal = native.metalInfo();
	const { backend, note } = chooseBackend('auto', metal, undefined);
	if (backend === 'auto' && metal.device !== undefined) return { name: 'metal', device: metal.device };
	const reason = note ?? (metal.onThisSystem ? metal.reason : undefined);
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
		['tensors', String(summary.tensorCount)],
		...summary.tensorTypes.map(({ type, count, bytes }): [string, string] => [
			`  ${type}`,
			`${count} (${formatBytes(bytes)})`,
		]),
		['tokenizer', `${tokenizer.model || '(none)'} ${tokenizer.pre}`.trim()],
		['  vocabulary', `${tokenizer.tokens} tokens, ${tokenizer.merges} merges`],
		['computes on', computesOn(summary.backend)],
	];
	const width = Math.max(...rows.map(([label]) => label.length));
	return rows.map(([label, value]) => `${label.padEnd(width)}  ${printable(value)}\n`).join('');
}

function computesOn({ name, device, kernels, note }: Summary['backend']): string {
	return name === 'metal' ? `Metal, ${device}` : `the CPU, ${kernels} kernels${note === undefined ? '' : ` (${note})`}`;
}

/** A float32 of the file as it was meant: 0.00001, not 0.000009999999747378752. */
function shown(value: string | number | boolean): string {
	return typeof value === 'number' ? String(Number(value.toPrecision(7))) : String(value);
}

function text(value: MetadataValue | undefined): string {
	return typeof value === 'string' ? value : '';
}

function tableLength(value: MetadataValue | undefined): number {
	return isStringTable(value) ? value.offsets.length - 1 : 0;
}

function isStringTable(value: MetadataValue | undefined): value is StringTable {
	return typeof value === 'object' && 'offsets' in value;
}

/** A file's strings are untrusted: escape sequences must not reach the terminal. */
function printable(value: string): string {
	return value.replace(/\p{Cc}/gu, '\uFFFD');
}
