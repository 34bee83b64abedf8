// The memory that a draft model or a draft head takes beside the model that it drafts for.
import type { GgufHeader } from '../../native/index';
import { describeModel } from './describe';
import type { MemoryNeed } from './memory-need';
import { draftHeadNeed, draftModelNeed, type MemorySettings } from './memory-need';

/** Whether a file is a draft head (EAGLE-3), which is no model of its own. */
export function isDraftHead(header: GgufHeader): boolean {
	return header.metadata.get('general.architecture') === 'eagle3';
}

/** The memory that a draft takes beside its target. Undefined where the headers do not tell. */
export function needOfDraft(draft: GgufHeader, target: GgufHeader, settings: MemorySettings): MemoryNeed | undefined {
	const { sizes } = describeModel(draft);
	const { sizes: targetSizes } = describeModel(target);
	if (!sizes || !targetSizes) return undefined;
	return isDraftHead(draft) ? draftHeadNeed(sizes, targetSizes, settings) : draftModelNeed(sizes, settings);
}
