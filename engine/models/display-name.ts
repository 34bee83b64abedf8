// The name under which users see a model. It comes from the file's name where that tells something: the user chose or
// downloaded that file, and the name says the quantisation. `general.name` is often made of a training run's folder
// ("Smollm2 135M 8k Lc100K Mix1 Ep2").
import path from 'node:path';

/** How llama.cpp ends the name of each part of a split model. */
export const PART = /-(\d{5})-of-(\d{5})(?=\.gguf$)/i;
/** Names that converters and browsers give to any model. They tell nothing. */
const GENERIC =
	/^(?:model|weights|gguf|ggml|output|download|unnamed)(?:[ _-]?\(?\d+\)?)?(?:[-_.](?:i?q\d\w*|mxfp4|bf16|f16|f32))?$|^(?:ggml-model|pytorch_model|unsloth)(?:[-_. ].*)?$/i;
/** Content addresses (those of Ollama's and Hugging Face's blobs) and UUIDs. */
const ADDRESS = /^(?:sha256[-:])?[0-9a-f]{16,}$|^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const SIZE = /^(?:\d+x)?\d+(?:\.\d+)?[bmk]$/i;

/** @param ownName `general.name`; empty or absent where the file has none. */
export function displayName(file: string, ownName = ''): string {
	const stem = path
		.basename(file)
		.replace(PART, '')
		.replace(/\.gguf$/i, '');
	const telling = /\p{L}/u.test(stem) && !GENERIC.test(stem) && !ADDRESS.test(stem);
	return (telling ? '' : tidy(ownName)) || stem || file;
}

/**
 * Shortens a name to one line. Behind the model's size, it ends at the first word that looks like a setting of a
 * training run.
 */
function tidy(name: string): string {
	const words = name.split(/[\s\p{Cc}]+/u).filter((word) => word !== '');
	const size = words.findIndex((word) => SIZE.test(word));
	const end = words.findIndex((word, i) => i > size && /\p{L}/u.test(word) && /\d/.test(word) && !/^v\d/i.test(word));
	return words.slice(0, size < 0 || end < 0 ? words.length : end).join(' ');
}
