// Opens a model file: native weights, tokenizer and the engine that runs them.
import { stat } from 'node:fs/promises';
import { type GgufHeader, type KernelSet, loadNative, type NativeModel, type RopeMode } from '../../native/index';
import { Harmony } from '../harmony/harmony';
import { Tokenizer } from '../tokenizer/tokenizer';
import { Engine, type EngineOptions } from './engine';

export interface OpenOptions extends Omit<EngineOptions, 'contextTokens'> {
	/** Positions one request may span, or how to tell once the tokenizer is there. */
	contextTokens?: number | ((opened: { tokenizer: Tokenizer; harmony: Harmony }) => number);
	/** 0 or absent: one a physical core. */
	threads?: number;
	kernels?: KernelSet;
	rope?: RopeMode;
	/** Puts something between the engine and the native model, e.g. to time its steps. */
	instrument?: (model: NativeModel) => NativeModel;
}

/** A model ready to work. */
export interface OpenedModel {
	engine: Engine;
	tokenizer: Tokenizer;
	harmony: Harmony;
	loadMilliseconds: number;
	/** Bytes of all experts, of which a token reads a few, and of the output head, which only rows that are sampled read. */
	weights: { expertBytes: number; headBytes: number };
	/** What this processor offers the kernels, for reports. */
	cpuFeatures: string[];
}

/**
 * Opens a gpt-oss GGUF.
 * @throws a one-line error naming the file where it cannot be read, is no GGUF of a supported kind, or memory is short.
 */
export async function openModel(file: string, options: OpenOptions = {}): Promise<OpenedModel> {
	const started = performance.now();
	const header = await readHeader(file);
	const native = loadNative();
	const model = await native.openModel(file, {
		...(options.threads ? { threads: options.threads } : {}),
		...(options.kernels !== undefined && { kernels: options.kernels }),
		...(options.rope !== undefined && { rope: options.rope }),
	});
	try {
		const tokenizer = Tokenizer.fromGguf(header);
		if (tokenizer.vocabularySize > model.info.vocabularySize) {
			throw new Error(
				`${file}: the tokenizer has ${tokenizer.vocabularySize} tokens, the output layer only ${model.info.vocabularySize}`,
			);
		}
		const harmony = new Harmony(tokenizer);
		const { contextTokens, instrument, ...engineOptions } = options;
		const positions = typeof contextTokens === 'function' ? contextTokens({ tokenizer, harmony }) : contextTokens;
		const engine = new Engine(instrument?.(model) ?? model, {
			...engineOptions,
			...(positions !== undefined && { contextTokens: positions }),
		});
		return {
			engine,
			tokenizer,
			harmony,
			loadMilliseconds: performance.now() - started,
			weights: { expertBytes: tensorBytes(header, /_exps\./), headBytes: tensorBytes(header, /^output\.weight$/) },
			cpuFeatures: native.cpuInfo().features,
		};
	} catch (error) {
		model.close();
		throw error;
	}
}

function tensorBytes({ tensors }: GgufHeader, name: RegExp): number {
	return tensors.filter((tensor) => name.test(tensor.name)).reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Reads a GGUF's header.
 * @throws a one-line error naming the file where it does not exist, cannot be read or is no GGUF.
 */
export async function readHeader(file: string): Promise<GgufHeader> {
	await checkReadable(file);
	return loadNative().readGguf(file);
}

/** Says in plain words what is wrong with a path before the native core tries it. */
export async function checkReadable(file: string): Promise<void> {
	let stats: Awaited<ReturnType<typeof stat>>;
	try {
		stats = await stat(file);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === 'ENOENT' || code === 'ENOTDIR') throw new Error(`there is no file ${file}`);
		throw new Error(`cannot read ${file}: ${(error as Error).message}`);
	}
	if (stats.isDirectory()) throw new Error(`${file} is a folder, not a GGUF file; Select Model… and "hearth convert" convert a Hugging Face folder`);
}
