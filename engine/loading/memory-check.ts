// Checks whether a model may take the memory that it needs. Its header tells, before anything else of the file is read.
import type { GgufHeader } from '../../native/index';
import type { MachineMemory } from '../machine/memory';
import { describeModel } from '../models/describe';
import {
	alternatives,
	limitBytes,
	type MemoryLimit,
	type MemoryNeed,
	type MemorySettings,
	NotEnoughMemoryError,
	needWith,
} from '../models/memory-need';

/** The memory that a model may take, and the settings that it is to be opened with. */
export interface MemoryAllowance {
	settings: MemorySettings;
	limit: Exclude<MemoryLimit, 'none'>;
	available: MachineMemory;
}

/**
 * The memory that a model takes. Undefined where its header does not tell.
 * @throws NotEnoughMemoryError where that is more than the model may take.
 */
export function checkedNeed(
	file: string,
	header: GgufHeader,
	{ settings, limit, available }: MemoryAllowance,
): MemoryNeed | undefined {
	const { sizes } = describeModel(header);
	if (!sizes) return undefined;
	const need = needWith(sizes, settings);
	const most = limitBytes(limit, available);
	if (need.totalBytes <= most) return need;
	const others = alternatives(sizes, settings, most);
	throw new NotEnoughMemoryError({ path: file, need, memory: available, alternatives: others }, most);
}
