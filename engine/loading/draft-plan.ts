// Plans what drafts for a model, from the headers of the model and of its draft, before anything is opened.
import type { GgufHeader } from '../../native/index';
import { displayName } from '../models/display-name';
import { isDraftHead, needOfDraft } from '../models/draft-need';
import { readHeader } from '../models/header';
import { limitBytes, type MemoryNeed } from '../models/memory-need';
import { text } from '../models/supported';
import { messageOf } from '../quote';
import { formatBytes } from '../units';
import type { MemoryAllowance } from './memory-check';

export interface DraftPlan {
	head?: { file: string; name: string };
	/** The file of a draft model. It may be a file that cannot be read; opening it then says why. */
	model?: string;
	/** The memory that the draft will take, where memory is watched. */
	need?: MemoryNeed;
	/** Why nothing will draft. */
	problem?: string;
}

/**
 * @param file the draft that was asked for: a draft head or a draft model.
 * @param targetNeed the memory that the model itself takes. Absent where memory is not watched, or where its header
 * does not tell.
 */
export async function planDraft(
	file: string,
	target: GgufHeader,
	memory: MemoryAllowance | undefined,
	targetNeed: MemoryNeed | undefined,
): Promise<DraftPlan> {
	const header = await readHeader(file).catch(() => undefined);
	if (!header) return { model: file };
	try {
		const need = memory && targetNeed && needOfDraft(header, target, memory.settings);
		if (need && targetNeed.totalBytes + need.totalBytes > limitBytes(memory.limit, memory.available)) {
			const more = formatBytes(need.totalBytes);
			return { problem: `${file} would take another ${more} of memory, which are not left beside the model` };
		}
		const name = displayName(file, text(header.metadata.get('general.name')));
		return { ...(isDraftHead(header) ? { head: { file, name } } : { model: file }), ...(need && { need }) };
	} catch (error) {
		return { problem: `${file}: ${messageOf(error)}` };
	}
}
