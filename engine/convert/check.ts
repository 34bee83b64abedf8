// Whether Hearth could use a file that is about to be made. The checks of loading run on its header before its weights
// are written.
import { loadNative } from '../../native/index';
import { familyOf } from '../families/choose';
import { readHeader } from '../models/header';
import { whyNotRun } from '../models/supported';
import { Tokenizer } from '../tokenizer/tokenizer';

/**
 * Checks a GGUF as loading does. No weights are read, so they may still be zeros.
 * @param target for a draft head: the GGUF of its target model, if there is one.
 * @throws the reason why the file could not be loaded.
 */
export async function checkLoads(file: string, draftHead: boolean, target?: string): Promise<void> {
	const header = await readHeader(file);
	if (draftHead) return checkHead(file, target);
	const problem = whyNotRun(header);
	if (problem !== undefined) throw new Error(problem);
	familyOf(header, Tokenizer.fromGguf(header));
}

/**
 * Opens a draft head together with its target model. Where the target itself cannot be opened, the head is not checked.
 */
async function checkHead(file: string, target: string | undefined): Promise<void> {
	if (target === undefined) return;
	const native = loadNative();
	const options = { threads: 1, backend: 'cpu' } as const;
	const alone = await native.openModel(target, options).catch(() => undefined);
	alone?.close();
	if (alone) (await native.openModel(target, { ...options, draftHead: file })).close();
}
