// The options of a conversion.
import type { WriteOptions } from '../gguf/writer';
import type { WeightChoice } from './plan';

export interface ConvertOptions extends WriteOptions {
	/**
	 * The type that matrices get. By default they keep the folder's type. Two kinds of models get Q8_0 instead: draft
	 * heads, and models whose experts are MXFP4, as the published GGUF of gpt-oss has it. Experts in MXFP4 stay MXFP4.
	 * Norms, biases and routers are F32.
	 */
	weights?: WeightChoice;
	/** The target model of an EAGLE-3 head, a folder or a GGUF. */
	target?: string;
}
