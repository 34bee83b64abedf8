// Checks what a request asks of the engine before it joins the others. A mistake of one caller must not fail the step
// that all requests share.
import type { Sampling } from '../../native/index';
import { object, oneOf, realNumber, type Schema, wholeNumber } from '../schema';
import type { GenerateOptions } from './request';
import { PRIORITIES } from './scheduler';

/** The ranges that the native core takes. */
export const SAMPLING = {
	temperature: realNumber(0, 100),
	topK: wholeNumber(0, 2 ** 31 - 1),
	topP: realNumber(0, 1),
	minP: realNumber(0, 1),
	seed: wholeNumber(0, Number.MAX_SAFE_INTEGER),
} as const;

const SAMPLING_FIELDS: Schema<Sampling> = object(SAMPLING);
const PRIORITY = oneOf(PRIORITIES);
const MAX_TOKENS = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** @throws RangeError naming what cannot be used */
export function checkRequest(options: GenerateOptions, vocabularySize: number): void {
	const { tokens, priority, sampling, maxTokens, stopIds, forced, drafts } = options;
	if (tokens.length === 0) throw new RangeError('the prompt is empty');
	check(PRIORITY, priority, 'priority');
	check(MAX_TOKENS, maxTokens, 'maxTokens');
	if (sampling !== undefined) check(SAMPLING_FIELDS, sampling, 'sampling');
	if (drafts !== undefined) check(MAX_TOKENS, drafts.length, 'drafts.length');
	checkTokens(tokens, vocabularySize);
	if (forced !== undefined) checkTokens(forced, vocabularySize);
	// Stop ids beyond the vocabulary stop nothing. They are no mistake, because model files name such ends.
	for (const id of stopIds ?? []) check(STOP_ID, id, 'a stop id');
}

const STOP_ID = wholeNumber(-(2 ** 31), 2 ** 31 - 1);

/** @throws RangeError naming an id that is no token of the model */
export function checkTokens(tokens: ArrayLike<number>, vocabularySize: number): void {
	for (let i = 0; i < tokens.length; i++) {
		const id = tokens[i]!;
		if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
			throw new RangeError(`token id ${id} is not in the vocabulary of ${vocabularySize}`);
		}
	}
}

function check<T>(schema: Schema<T>, value: T, name: string): void {
	const problem = schema.problem(value, name);
	if (problem !== undefined) throw new RangeError(problem);
}
