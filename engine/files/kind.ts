// Names the kind of thing that a path leads to.
import type { Stats } from 'node:fs';

/** The kind as a part of a sentence, e.g. "a folder" or "a pipe". */
export function kindOf(stats: Stats): string {
	if (stats.isFile()) return 'a file';
	if (stats.isDirectory()) return 'a folder';
	if (stats.isFIFO()) return 'a pipe';
	if (stats.isSocket()) return 'a socket';
	if (stats.isSymbolicLink()) return 'a link';
	return 'a device';
}
