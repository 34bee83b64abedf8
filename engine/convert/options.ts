// What a caller may choose about a conversion.
import type { WriteOptions } from '../gguf/writer';
import type { WeightChoice } from './plan';

export interface ConvertOptions extends WriteOptions {
	/**
	 * What matrices become. Default: as the folder has them, but Q8_0 beside gpt-oss's MXFP4 experts, as in the published
	 * GGUF, and for draft heads. Experts in MXFP4 stay so; norms, biases and routers are F32.
	 */
	weights?: WeightChoice;
	/** For an EAGLE-3 head: its target model, a folder or a GGUF. */
	target?: string;
}
