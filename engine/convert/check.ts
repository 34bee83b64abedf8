// Whether a file that is about to be made could be used: the checks of loading run on its header before its weights are written.
import { loadNative } from '../../native/index';
import { familyOf } from '../families/choose';
import { readHeader } from '../models/header';
import { whyNotRun } from '../models/supported';
import { Tokenizer } from '../tokenizer/tokenizer';

/**
 * Checks a GGUF as loading does. No weights are read: they may be zeros still.
 * @param target for a draft head: the GGUF of the model it is for, if that is at hand.
 * @throws what is in the way of loading it.
 */
export async function checkLoads(file: string, draftHead: boolean, target?: string): Promise<void> {
	const header = await readHeader(file);
	if (draftHead) return checkHead(file, target);
	const problem = whyNotRun(header);
	if (problem !== undefined) throw new Error(problem);
	familyOf(header, Tokenizer.fromGguf(header));
}

/** A head is opened with its model; where that is itself at fault, there is nothing to say of the head. */
async function checkHead(file: string, target: string | undefined): Promise<void> {
	if (target === undefined) return;
	const native = loadNative();
	const options = { threads: 1, backend: 'cpu' } as const;
	const alone = await native.openModel(target, options).catch(() => undefined);
	alone?.close();
	if (alone) (await native.openModel(target, { ...options, draftHead: file })).close();
}
