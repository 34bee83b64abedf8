// The rotary embedding of a config.json as GGUF metadata. transformers has moved its options more than once
// (`modeling_rope_utils.py`): they are `rope_theta` beside `rope_scaling`, or one `rope_parameters`, or one
// `rope_parameters` for each type of layer. An option that asks for something else than Hearth computes is an error
// that names the option.
import { isDeepStrictEqual } from 'node:util';
import type { GgufValue } from '../gguf/writer';
import { JsonObject } from './json';
import type { Plan } from './plan';
import { shown } from './safetensors';

const MAX_LENGTH = 2 ** 24;

/** What an architecture uses where the config says nothing. */
interface Defaults {
	base: number;
	/** Whether YaRN's correction range is rounded to whole dimensions. */
	truncate: boolean;
	/** The scaling where the config has no RoPE parameters. */
	scaling?: Readonly<Record<string, unknown>>;
}

const USUAL: Defaults = { base: 10_000, truncate: true };
/** By GGUF architecture; gpt-oss's are those of transformers' `configuration_gpt_oss.py`. */
const DEFAULTS: Readonly<Record<string, Defaults>> = {
	'gpt-oss': {
		base: 150_000,
		truncate: false,
		scaling: {
			...{ rope_type: 'yarn', factor: 32, beta_fast: 32, beta_slow: 1, truncate: false },
			original_max_position_embeddings: 4096,
		},
	},
};

/** The types of layers that an architecture has, as `layer_types` names them. */
const LAYER_TYPES: Readonly<Record<string, readonly string[]>> = { 'gpt-oss': ['sliding_attention', 'full_attention'] };

/** Options that change nothing here, whatever their value: notes on training, and options that are read elsewhere. */
const HARMLESS = ['finetuned', 'rope_theta', 'rope_type', 'type', 'partial_rotary_factor'];
const OPTIONS = {
	default: ['original_max_position_embeddings'],
	linear: ['factor', 'original_max_position_embeddings'],
	llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
	yarn: [
		...['factor', 'original_max_position_embeddings', 'beta_fast', 'beta_slow', 'truncate'],
		...['attention_factor', 'mscale', 'mscale_all_dim'],
	],
} as const;
type RopeType = keyof typeof OPTIONS;

interface Rope {
	base: number;
	type: RopeType;
	factor: number;
	originalContext: number;
	/** Only yarn uses it. */
	betaFast: number;
	betaSlow: number;
	truncate: boolean;
	/** The factor of rotated queries and keys, divided by the factor that YaRN's paper gives. */
	attentionFactor: number;
	/** Only llama3 uses it. */
	lowFrequency: number;
	highFrequency: number;
}

/** Adds `<architecture>.rope.*` to the metadata. @throws naming the option that cannot be mapped. */
export function addRope(metadata: Map<string, GgufValue>, architecture: string, config: JsonObject): void {
	const rope = readRope(config, architecture);
	const f32 = (key: string, value: number) => metadata.set(`${architecture}.rope.${key}`, { type: 'f32', value });
	f32('freq_base', rope.base);
	if (rope.type !== 'linear' && rope.type !== 'yarn') return;
	metadata.set(`${architecture}.rope.scaling.type`, { type: 'string', value: rope.type });
	f32('scaling.factor', rope.factor);
	if (rope.type !== 'yarn') return;
	metadata.set(`${architecture}.rope.scaling.original_context_length`, { type: 'u32', value: rope.originalContext });
	f32('scaling.yarn_beta_fast', rope.betaFast);
	f32('scaling.yarn_beta_slow', rope.betaSlow);
	if (Math.abs(rope.attentionFactor - 1) > 1e-6) f32('scaling.attn_factor', rope.attentionFactor);
	if (rope.truncate !== defaultsOf(architecture).truncate) {
		metadata.set(`${architecture}.rope.scaling.yarn_truncate`, { type: 'bool', value: rope.truncate });
	}
}

/**
 * Plans `rope_freqs.weight` for Llama 3.1's scaling: the divisor of each frequency (transformers,
 * `_compute_llama3_parameters`).
 * @param name the tensor's name.
 */
export function addRopeFrequencies(
	plan: Plan,
	architecture: string,
	config: JsonObject,
	name: string,
	headLength: number,
): void {
	const rope = readRope(config, architecture);
	if (rope.type !== 'llama3') return;
	const factors = Float32Array.from({ length: headLength / 2 }, (_, i) => {
		const wavelength = 2 * Math.PI * rope.base ** ((2 * i) / headLength);
		if (wavelength < rope.originalContext / rope.highFrequency) return 1;
		if (wavelength > rope.originalContext / rope.lowFrequency) return rope.factor;
		const smooth = (rope.originalContext / wavelength - rope.lowFrequency) / (rope.highFrequency - rope.lowFrequency);
		return 1 / ((1 - smooth) / rope.factor + smooth);
	});
	plan.constant(name, 'F32', [factors.length], new Uint8Array(factors.buffer));
}

const defaultsOf = (architecture: string) => (Object.hasOwn(DEFAULTS, architecture) ? DEFAULTS[architecture]! : USUAL);

function readRope(config: JsonObject, architecture: string): Rope {
	const defaults = defaultsOf(architecture);
	const given = parametersOf(config, architecture);
	const scaling = given ?? new JsonObject(config.file, defaults.scaling ?? {}, 'rope_parameters.');
	const fail = (what: string) => new Error(`${config.file}: ${what}`);
	// In some versions of transformers an empty object means no scaling, in others the default scaling.
	const empty = ['rope_parameters', 'rope_scaling'].find((key) => Object.hasOwn(config.values, key));
	if (!given && defaults.scaling && empty) {
		throw fail(
			`${empty} is empty, which means different things; say the RoPE scaling, {"rope_type": "default"} for none`,
		);
	}
	const base = agreeing(config, given, 'rope_theta') ?? defaults.base;
	// The native core accepts this range, too. A base of 1 or less gives no frequencies.
	if (!(base > 1 && base < 1e12)) throw fail(`a RoPE base (rope_theta) of ${base} is out of range`);
	const part = agreeing(config, given, 'partial_rotary_factor') ?? 1;
	if (part !== 1) throw fail(`partial_rotary_factor is ${part}, which is not supported; 1 is`);
	const type = typeOf(scaling, fail);
	for (const key of scaling.keys()) {
		if (HARMLESS.includes(key) || (OPTIONS[type] as readonly string[]).includes(key)) continue;
		// Some configs name an option and leave it neutral: a factor of 1, or a switch that is off.
		if (scaling.isNeutral(key) || scaling.get(key) === 1) continue;
		throw fail(`RoPE scaling ${shown(type)} with ${shown(key)} is not supported`);
	}
	const rope: Rope = {
		...{ base, type, factor: 1, originalContext: 0, betaFast: 32, betaSlow: 1, truncate: defaults.truncate },
		...{ attentionFactor: 1, lowFrequency: 1, highFrequency: 4 },
	};
	if (type === 'default') return rope;
	rope.factor = scaling.number('factor');
	if (!(rope.factor >= 1 && rope.factor <= 65536)) throw fail(`a RoPE factor of ${rope.factor} is out of range`);
	if (type === 'linear') return rope;
	agreeing(config, given, 'original_max_position_embeddings');
	const context = type === 'llama3' ? 8192 : config.integer('max_position_embeddings', 1, MAX_LENGTH);
	const outer = config.integer('original_max_position_embeddings', 1, MAX_LENGTH, context);
	rope.originalContext = scaling.integer('original_max_position_embeddings', 1, MAX_LENGTH, outer);
	if (type === 'llama3') {
		rope.lowFrequency = scaling.number('low_freq_factor', 1);
		rope.highFrequency = scaling.number('high_freq_factor', 4);
		if (!(rope.lowFrequency > 0 && rope.highFrequency > rope.lowFrequency)) {
			throw fail(
				`high_freq_factor ${rope.highFrequency} must be above low_freq_factor ${rope.lowFrequency}, and that above 0`,
			);
		}
		return rope;
	}
	// transformers treats 0 as absent.
	rope.betaFast = scaling.number('beta_fast', 32) || 32;
	rope.betaSlow = scaling.number('beta_slow', 1) || 1;
	if (!(rope.betaFast > rope.betaSlow && rope.betaSlow > 0)) {
		throw fail(`beta_fast ${rope.betaFast} must be above beta_slow ${rope.betaSlow}, and that above 0`);
	}
	rope.truncate = scaling.boolean('truncate', defaults.truncate);
	rope.attentionFactor = attentionFactorOf(scaling, rope.factor) / paperFactor(rope.factor, 1);
	if (!(rope.attentionFactor > 0 && rope.attentionFactor <= 100)) throw fail('attention_factor is out of range');
	return rope;
}

/** YaRN's factor of queries and keys: 0.1·m·ln(factor) + 1. */
const paperFactor = (factor: number, m: number) => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);

function attentionFactorOf(scaling: JsonObject, factor: number): number {
	if (scaling.has('attention_factor')) return scaling.number('attention_factor');
	const m = scaling.number('mscale', 0);
	const all = scaling.number('mscale_all_dim', 0);
	// transformers ignores each of the two without the other.
	return m && all ? paperFactor(factor, m) / paperFactor(factor, all) : paperFactor(factor, 1);
}

function typeOf(scaling: JsonObject, fail: (what: string) => Error): RopeType {
	for (const key of ['rope_type', 'type']) if (scaling.has(key)) scaling.string(key);
	const type = scaling.first('rope_type', 'type') ?? 'default';
	const older = scaling.get('type') ?? type;
	if (older !== type)
		throw fail(`the RoPE scaling is ${shown(String(type))} by rope_type and ${shown(String(older))} by type`);
	if (Object.hasOwn(OPTIONS, String(type))) return type as RopeType;
	throw fail(`RoPE scaling ${shown(String(type))} is not supported; linear, yarn and llama3 are`);
}

/** A number that a config may have at its top level and among the RoPE parameters. @throws where the two differ. */
function agreeing(config: JsonObject, parameters: JsonObject | undefined, key: string): number | undefined {
	const inner = parameters?.has(key) ? parameters.number(key) : undefined;
	const outer = config.has(key) ? config.number(key) : undefined;
	if (inner !== undefined && outer !== undefined && inner !== outer) {
		throw new Error(`${config.file}: ${key} is ${outer}, but ${inner} among the RoPE parameters`);
	}
	return inner ?? outer;
}

/** The RoPE parameters, from either of the two places. @throws where the places or the types of layers differ. */
function parametersOf(config: JsonObject, architecture: string): JsonObject | undefined {
	const places = ['rope_parameters', 'rope_scaling'].map((key) => {
		const object = config.optionalObject(key);
		return object && ofLayers(object, key, architecture);
	});
	const [newer, older] = places;
	if (newer && older && !isDeepStrictEqual(meaning(newer), meaning(older))) {
		throw new Error(`${config.file}: rope_parameters and rope_scaling differ`);
	}
	const found = newer ?? older;
	// transformers writes {} where there are no parameters.
	return found && found.keys().length === 0 ? undefined : found;
}

/**
 * The parameters of the layers. Where they are given for each type of layer, those of this architecture's types.
 * @throws where these differ.
 */
function ofLayers(parameters: JsonObject, key: string, architecture: string): JsonObject {
	const byLayer = Object.entries(parameters.values).filter(([, value]) => typeof value === 'object' && value !== null);
	const nested = byLayer.filter(([, value]) => !Array.isArray(value));
	if (nested.length === 0) return parameters;
	const types = Object.hasOwn(LAYER_TYPES, architecture) ? LAYER_TYPES[architecture]! : ['full_attention'];
	const used = types.map((type) => parameters.optionalObject(type));
	const [first, ...others] = used;
	const rest = parameters.keys().filter((name) => !nested.some(([own]) => own === name) && !parameters.isNeutral(name));
	if (rest.length > 0)
		throw new Error(`${parameters.file}: ${key} has ${shown(rest[0]!)} beside parameters of layer types`);
	if (!first) {
		const names = nested.map(([name]) => shown(name)).join(', ');
		throw new Error(`${parameters.file}: ${key} has parameters of ${names}, but none of ${types.join(' and ')} layers`);
	}
	if (others.some((other) => !isDeepStrictEqual(other && meaning(other), meaning(first)))) {
		throw new Error(
			`${parameters.file}: ${key} differ between ${types.join(' and ')} layers, which is not supported; one for all layers is`,
		);
	}
	return first;
}

/** Parameters without nulls, and with the type under its newer name, for comparing. */
function meaning(parameters: JsonObject): Record<string, unknown> {
	const { type, ...rest } = Object.fromEntries(
		Object.entries(parameters.values).filter(([, value]) => value !== null),
	) as Record<string, unknown>;
	return { ...(type !== undefined && { rope_type: type }), ...rest };
}
