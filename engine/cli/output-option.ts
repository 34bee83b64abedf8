// Files that a command writes under a name of the user's: what Hearth made before is replaced, what others made only with
// `--overwrite`, and what is no file never.
import { readFile, stat } from 'node:fs/promises';
import { type OutputTarget, outputTarget, PartialFile, refuseForeign } from '../files/output-file';
import { messageOf } from '../quote';

export const OVERWRITE_OPTION = { overwrite: { type: 'boolean' } } as const;
/** For a command whose help calls the file so. */
export const overwriteHelp = (name: string) => `\
  --overwrite      replace ${name} even if it is a file that Hearth did not make`;

/** No report of ours is as long. */
const MOST_BYTES = 256 * 2 ** 20;

/**
 * Looks at the place of a file before the work for it begins.
 * @param isOurs whether the file that is there is one that this command has made, by its path.
 * @throws where it must not be replaced.
 */
export async function outputOption(
	file: string,
	overwrite: boolean | undefined,
	isOurs: (file: string) => Promise<boolean>,
): Promise<OutputTarget> {
	const target = await outputTarget(file);
	if (!overwrite) await refuseForeign(target, isOurs);
	return target;
}

/** As `outputOption`, for a report that takes minutes: also says at once where nothing can be written. */
export async function reportOption(
	file: string,
	overwrite: boolean | undefined,
	isOurs: (text: string) => boolean,
): Promise<OutputTarget> {
	const target = await outputOption(file, overwrite, async (path) => {
		if ((await stat(path)).size > MOST_BYTES) return false;
		return isOurs(await readFile(path, 'utf8'));
	});
	try {
		await (await PartialFile.create(target)).discard();
	} catch (error) {
		throw new Error(`cannot save to ${file}: ${messageOf(error)}`);
	}
	return target;
}
