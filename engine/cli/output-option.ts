// Files that a command writes under a name that the user gives. A file that Hearth made before is replaced. A file that
// others made is replaced only with `--overwrite`. What is no file is never replaced.
import { readFile, stat } from 'node:fs/promises';
import { type OutputTarget, outputTarget, PartialFile, refuseForeign } from '../files/output-file';
import { messageOf } from '../quote';

export const OVERWRITE_OPTION = { overwrite: { type: 'boolean' } } as const;
/** The option's help, for a command whose help calls the file by this name. */
export const overwriteHelp = (name: string) => `\
  --overwrite      replace ${name} even if it is a file that Hearth did not make`;

/** Bytes of a report at most. None of ours is as long. */
const MOST_BYTES = 256 * 2 ** 20;

/**
 * Checks the place of a file before the work for it begins.
 * @param isOurs whether this command has made the file that is there, by its path.
 * @throws where the file must not be replaced.
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

/** Does what `outputOption` does, for a report that takes minutes: also fails at once where nothing can be written. */
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
