// Reads the header of a model file. It holds all that is asked about a model before its weights are opened.
import { stat } from 'node:fs/promises';
import { type GgufHeader, loadNative } from '../../native/index';
import { messageOf } from '../quote';
import { VOCABULARY_RULES } from './supported';

/**
 * Reads a GGUF's header, and finds out whether the native core could open its model (`refusal`).
 * @throws a one-line error naming the file where it does not exist, cannot be read or is no GGUF.
 */
export async function readHeader(file: string): Promise<GgufHeader> {
	await checkReadable(file);
	return loadNative().readGguf(file, VOCABULARY_RULES);
}

/**
 * Checks a path before the native core tries it.
 * @throws an error that says in plain words what is wrong with the path.
 */
export async function checkReadable(file: string): Promise<void> {
	let stats: Awaited<ReturnType<typeof stat>>;
	try {
		stats = await stat(file);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === 'ENOENT' || code === 'ENOTDIR') throw new Error(`there is no file ${file}`);
		throw new Error(`cannot read ${file}: ${messageOf(error)}`);
	}
	if (stats.isDirectory())
		throw new Error(
			`${file} is a folder, not a GGUF file; Select Model… and "hearth convert" convert a Hugging Face folder`,
		);
}
