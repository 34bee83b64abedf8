// Opens a model file: the native weights, the tokenizer, the engine that runs them, and what drafts for the model.
import {
	type BackendChoice,
	type GgufHeader,
	type KernelSet,
	loadNative,
	type ModelOptions,
	type NativeModel,
	type RopeMode,
} from '../../native/index';
import { familyOf } from '../families/choose';
import type { ModelFamily } from '../families/family';
import { displayName } from '../models/display-name';
import { readHeader } from '../models/header';
import { type MemoryNeed, withDraft } from '../models/memory-need';
import { whyNotRun } from '../models/supported';
import { type WeightBytes, weightBytes } from '../models/weight-bytes';
import { messageOf } from '../quote';
import { Engine, type EngineOptions } from '../runtime/engine';
import { onBehalfOf, StepArbiter, type StepTurns } from '../runtime/step-arbiter';
import { ModelDraft, vocabularyMismatch } from '../speculation/model-draft';
import { PromptLookup } from '../speculation/prompt-lookup';
import { Tokenizer } from '../tokenizer/tokenizer';
import type { Vocabulary } from '../tokenizer/vocabulary';
import { chooseBackend } from './backend';
import { type DraftPlan, planDraft } from './draft-plan';
import { checkedNeed, type MemoryAllowance } from './memory-check';

export interface OpenOptions extends Omit<EngineOptions, 'contextTokens' | 'backendNote' | 'reopen'> {
	/** Positions that one request may span, or a function that gives them once the tokenizer is there. */
	contextTokens?: number | ((opened: { tokenizer: Tokenizer; family: ModelFamily }) => number);
	/** 0 or absent: one thread for each physical core. */
	threads?: number;
	kernels?: KernelSet;
	/**
	 * Default: `auto`. `onBackendNote` is called with the reason where this is not `cpu` and the CPU computes all the
	 * same.
	 */
	backend?: BackendChoice;
	/**
	 * On a GPU, read prompts with its matrix units. That is faster, but tokens may then depend on how a prompt was cut
	 * into steps.
	 */
	matrixUnits?: boolean;
	rope?: RopeMode;
	/**
	 * A model that takes more memory than this is refused before anything of it is read. Absent: it may take any amount.
	 */
	memory?: MemoryAllowance;
	/** A draft head or a smaller model that drafts for this one. Where it cannot, the model works without it. */
	draftModelPath?: string;
	/** Wraps the native model for the engine, e.g. to time its steps. */
	instrument?: (model: NativeModel) => NativeModel;
}

/** An opened model, ready to work. */
export interface OpenedModel {
	engine: Engine;
	tokenizer: Tokenizer;
	family: ModelFamily;
	loadMilliseconds: number;
	weights: WeightBytes;
	/** Features of this processor that the kernels use, for reports. */
	cpuFeatures: string[];
	/** The name of the draft model or head that drafts for this model, and why the one that was asked for does not. */
	draft?: string;
	draftProblem?: string;
	/** The memory that the model takes with its settings. Absent where the header does not tell. */
	need?: MemoryNeed;
}

/**
 * Opens a GGUF of an architecture that the native core knows.
 * @throws a one-line error naming the file where it cannot be read, is no GGUF of a supported kind, or memory is short;
 * NotEnoughMemoryError where the model would take more than `options.memory` allows.
 */
export async function openModel(file: string, options: OpenOptions = {}): Promise<OpenedModel> {
	const started = performance.now();
	const header = await readHeader(file);
	const problem = whyNotRun(header);
	if (problem !== undefined) throw new Error(header.refusal || `${file} cannot be run: ${problem}`);
	const need = options.memory && checkedNeed(file, header, options.memory);
	const native = loadNative();
	const { backend, note } = chooseBackend(options.backend ?? 'auto', native.devices(), options.cacheType);
	const nativeOptions = {
		...(options.threads ? { threads: options.threads } : {}),
		...(options.kernels !== undefined && { kernels: options.kernels }),
		...(options.rope !== undefined && { rope: options.rope }),
		...(options.matrixUnits && { matrixUnits: true }),
	};
	const draftFile = options.speculation === false ? undefined : options.draftModelPath;
	const draft: DraftPlan = draftFile === undefined ? {} : await planDraft(draftFile, header, options.memory, need);
	const { model, problem: headProblem } = await openNative(file, { ...nativeOptions, backend }, draft.head?.file);
	const backendNote = note ?? model.info.backendNote;
	let draftModel: ModelDraft | undefined;
	try {
		const tokenizer = await openTokenizer(file, header, model);
		const family = familyOf(header, tokenizer);
		const { contextTokens, instrument, memory: _checked, draftModelPath: _opened, ...engineOptions } = options;
		const positions = typeof contextTokens === 'function' ? contextTokens({ tokenizer, family }) : contextTokens;
		const turns = options.turns ?? new StepArbiter().join();
		const usable = headProblem === undefined ? draft : { problem: headProblem };
		const drafting = await openDraft(usable, tokenizer.vocabulary, turns, options);
		draftModel = drafting.source;
		const engine = new Engine(instrument?.(model) ?? model, {
			...engineOptions,
			turns,
			...(draftModel && { draftSources: [new PromptLookup(), draftModel] }),
			...(positions !== undefined && { contextTokens: positions }),
			...(backendNote !== undefined && { backendNote }),
			reopen: () => native.openModel(file, { ...nativeOptions, backend: 'cpu' }),
		});
		if (backendNote !== undefined) options.onBackendNote?.(backendNote);
		return {
			engine,
			tokenizer,
			family,
			loadMilliseconds: performance.now() - started,
			weights: weightBytes(header),
			cpuFeatures: native.cpuInfo().features,
			...(need && { need: draft.need && drafting.problem === undefined ? withDraft(need, draft.need) : need }),
			...(drafting.name !== undefined && { draft: drafting.name }),
			...(drafting.problem !== undefined && { draftProblem: drafting.problem }),
		};
	} catch (error) {
		draftModel?.close();
		model.close();
		throw error;
	}
}

/** Opens the weights, with the draft head if it fits the model. `problem` says why it does not. */
async function openNative(
	file: string,
	options: ModelOptions,
	draftHead: string | undefined,
): Promise<{ model: NativeModel; problem?: string }> {
	const native = loadNative();
	if (draftHead === undefined) return { model: await native.openModel(file, options) };
	try {
		return { model: await native.openModel(file, { ...options, draftHead }) };
	} catch (error) {
		// If the model itself is at fault, this second attempt reports that.
		return { model: await native.openModel(file, options), problem: messageOf(error) };
	}
}

async function openTokenizer(file: string, header: GgufHeader, { info }: NativeModel): Promise<Tokenizer> {
	const tokenizer = await Tokenizer.fromGgufInTurns(header);
	if (tokenizer.vocabulary.size > info.vocabularySize) {
		throw new Error(
			`${file}: the tokenizer has ${tokenizer.vocabulary.size} tokens, the output layer only ${info.vocabularySize}`,
		);
	}
	return tokenizer;
}

/**
 * The draft model or head of a model, or the reason why there is none. `source` is a draft model. A draft head has a
 * name but no source, since the native model contains it.
 */
interface Drafting {
	source?: ModelDraft;
	name?: string;
	problem?: string;
}

/**
 * Carries a plan out. A draft head is open already, together with its model; a draft model is opened now. Never
 * rejects.
 */
async function openDraft(
	{ problem, head, model }: DraftPlan,
	target: Vocabulary,
	turns: StepTurns,
	options: OpenOptions,
): Promise<Drafting> {
	if (problem !== undefined) return { problem };
	if (head) return { name: head.name };
	return model === undefined ? {} : openDraftModel(model, target, { ...options, turns: onBehalfOf(turns) });
}

/** Opens a model that drafts for another one. Never rejects, because the other model works without it, too. */
async function openDraftModel(file: string, target: Vocabulary, options: OpenOptions): Promise<Drafting> {
	const { draftModelPath: _itself, instrument: _others, memory: _checked, ...shared } = options;
	// Clients hear of a fault of the draft model, e.g. in its file, only when its drafts fail.
	const { onBackendNote: _note, onLost: _loss, ...rest } = shared;
	try {
		const { engine, tokenizer } = await openModel(file, { ...rest, speculation: false });
		const mismatch = vocabularyMismatch(target, tokenizer.vocabulary);
		if (mismatch === undefined) {
			return { source: new ModelDraft(engine, target.size), name: displayName(file, engine.info.name) };
		}
		await engine.close();
		return { problem: `${file} cannot draft for this model, whose vocabulary is another one: ${mismatch}` };
	} catch (error) {
		return { problem: messageOf(error) };
	}
}
