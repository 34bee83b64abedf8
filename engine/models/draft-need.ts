// The memory that something which drafts for a model takes beside that model.
import type { GgufHeader } from '../../native/index';
import { describeModel } from './describe';
import type { MemoryNeed } from './memory-need';
import { draftHeadNeed, draftModelNeed, type MemorySettings } from './memory-need';

/** Whether a file is a draft head (EAGLE-3), which is no model of its own. */
export function isDraftHead(header: GgufHeader): boolean {
	return header.metadata.get('general.architecture') === 'eagle3';
}

/** What a draft of a model takes beside it; undefined where the headers do not tell. */
export function needOfDraft(draft: GgufHeader, target: GgufHeader, settings: MemorySettings): MemoryNeed | undefined {
	const { sizes } = describeModel(draft);
	const { sizes: targetSizes } = describeModel(target);
	if (!sizes || !targetSizes) return undefined;
	return isDraftHead(draft) ? draftHeadNeed(sizes, targetSizes, settings) : draftModelNeed(sizes, settings);
}
