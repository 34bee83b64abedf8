// What a GGUF's header says about a model: its name, sizes and quantisation, and what it is good for. The header is
// untrusted: a field that is missing or of another type is left out and is never an error.
import type { GgufHeader, MetadataValue } from '../../native/index';
import { specialIds } from '../gguf/special-ids';
import { FILL_NAMES } from '../tokenizer/control-names';
import type { FoundModel, ModelUse } from './listing';
import type { ModelSizes } from './memory-need';
import { text, whyNotRun } from './supported';

export interface ModelDescription
	extends Pick<FoundModel, 'architecture' | 'parameterCount' | 'quantisation' | 'contextLength' | 'problem' | 'notes'> {
	/** `general.name`, where the header has it. */
	name?: string;
	uses: ModelUse[];
	/** Absent where the header does not give all sizes that are needed. */
	sizes?: ModelSizes;
}

/** A model with fewer parameters is quick enough to draft for a larger one. */
const MOST_DRAFT_PARAMETERS = 1e9;
/** Architectures that Hearth can prompt for a completion without fill-in-the-middle tokens. */
const COMPLETES_WITHOUT_TOKENS = new Set(['gpt-oss']);
/** The names that model families give to the token before the code in front of the cursor. */
const FIM_PREFIXES = FILL_NAMES.pre.map((text) => Buffer.from(text));

export function describeModel(header: GgufHeader): ModelDescription {
	const { metadata, tensors } = header;
	const architecture = text(metadata.get('general.architecture'));
	const name = text(metadata.get('general.name'));
	const quantities = new Map<string, number>();
	let parameterCount = 0;
	for (const { type, bytes, shape } of tensors) {
		parameterCount += shape.reduce((product, length) => product * length, 1);
		quantities.set(type, (quantities.get(type) ?? 0) + bytes);
	}
	const [quantisation] = [...quantities].sort(([, a], [, b]) => b - a)[0] ?? [];
	const sizes = sizesOf(header, architecture);
	const problem = whyNotRun(header);
	const { notes } = specialIds(header);
	return {
		architecture,
		parameterCount,
		uses: usesOf(header, architecture, parameterCount),
		...(name !== '' && { name }),
		...(quantisation !== undefined && { quantisation }),
		...(sizes && { sizes, contextLength: sizes.contextLength }),
		...(problem !== undefined && { problem }),
		...(notes.length > 0 && { notes }),
	};
}

function usesOf({ metadata }: GgufHeader, architecture: string, parameterCount: number): ModelUse[] {
	if (architecture === 'eagle3') return ['draft'];
	const uses: ModelUse[] = [];
	if (COMPLETES_WITHOUT_TOKENS.has(architecture) || text(metadata.get('tokenizer.chat_template')) !== '')
		uses.push('chat');
	if (COMPLETES_WITHOUT_TOKENS.has(architecture) || knowsFillInTheMiddle(metadata)) uses.push('completion');
	if (parameterCount < MOST_DRAFT_PARAMETERS) uses.push('draft');
	return uses;
}

function knowsFillInTheMiddle(metadata: GgufHeader['metadata']): boolean {
	if (['fim_pre_token_id', 'prefix_token_id'].some((key) => metadata.has(`tokenizer.ggml.${key}`))) return true;
	const tokens = metadata.get('tokenizer.ggml.tokens');
	if (typeof tokens !== 'object' || !('offsets' in tokens)) return false;
	const { bytes, offsets } = tokens;
	// Prefixes are found by their length first. So hardly any token of a table of a million has to be compared.
	const byLength: Buffer[][] = [];
	for (const prefix of FIM_PREFIXES) {
		byLength[prefix.length] ??= [];
		byLength[prefix.length]!.push(prefix);
	}
	for (let i = 1; i < offsets.length; i++) {
		const from = offsets[i - 1]!;
		const prefixes = byLength[offsets[i]! - from];
		if (prefixes?.some((prefix) => prefix.every((byte, at) => bytes[from + at] === byte))) return true;
	}
	return false;
}

function sizesOf(header: GgufHeader, architecture: string): ModelSizes | undefined {
	const { metadata } = header;
	const number = (key: string) => positive(metadata.get(`${architecture}.${key}`));
	const layers = number('block_count');
	const embedding = number('embedding_length');
	const heads = number('attention.head_count');
	if (layers === undefined || embedding === undefined || heads === undefined) return undefined;
	const length = embedding / heads;
	const rows = (tensor: string) => header.tensors.find(({ name }) => name === tensor)?.shape[1];
	return {
		weightBytes: header.fileBytes,
		layers,
		embedding,
		heads,
		vocabulary: rows('token_embd.weight') ?? rows('output.weight') ?? 0,
		headsKv: number('attention.head_count_kv') ?? heads,
		keyLength: number('attention.key_length') ?? length,
		valueLength: number('attention.value_length') ?? length,
		feedForward: number('expert_feed_forward_length') ?? number('feed_forward_length') ?? 0,
		experts: number('expert_count') ?? 0,
		expertsUsed: number('expert_used_count') ?? 0,
		contextLength: number('context_length') ?? 0,
	};
}

/** A number above 0. For an array, which has one number for each layer, it is the mean. */
function positive(value: MetadataValue | undefined): number | undefined {
	if (value instanceof Int32Array || value instanceof Float64Array) {
		return positive(Array.from<number>(value).reduce((sum, item) => sum + item, 0) / Math.max(1, value.length));
	}
	const number = typeof value === 'bigint' ? Number(value) : value;
	return typeof number === 'number' && Number.isFinite(number) && number > 0 ? number : undefined;
}
