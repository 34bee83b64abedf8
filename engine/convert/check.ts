// Whether a file that is about to be made could be used: the checks of loading run on its header before its weights are written.
import { loadNative } from '../../native/index';
import { familyOf } from '../families/choose';
import { Tokenizer } from '../tokenizer/tokenizer';

/**
 * Opens a GGUF as loading does, and closes it again. No weights are read: they may be zeros still.
 * @param target for a draft head: the GGUF of the model it is for, if that is at hand.
 * @throws what loading would throw.
 */
export async function checkLoads(file: string, draftHead: boolean, target?: string): Promise<void> {
	const native = loadNative();
	const header = await native.readGguf(file);
	if (draftHead) {
		// A head is opened with its model; where that is itself at fault, there is nothing to say of the head.
		const alone =
			target === undefined
				? undefined
				: await native.openModel(target, { threads: 1, backend: 'cpu' }).catch(() => undefined);
		alone?.close();
		if (alone) (await native.openModel(target!, { threads: 1, backend: 'cpu', draftHead: file })).close();
		return;
	}
	const tokenizer = Tokenizer.fromGguf(header);
	familyOf(header, tokenizer);
	const model = await native.openModel(file, { threads: 1, backend: 'cpu' });
	const { vocabularySize } = model.info;
	model.close();
	if (tokenizer.vocabularySize > vocabularySize) {
		throw new Error(`the tokenizer has ${tokenizer.vocabularySize} tokens, the output layer only ${vocabularySize}`);
	}
}
