// What kind of thing a path leads to, in words.
import type { Stats } from 'node:fs';

/** "a folder", "a pipe"…, as part of a sentence. */
export function kindOf(stats: Stats): string {
	if (stats.isFile()) return 'a file';
	if (stats.isDirectory()) return 'a folder';
	if (stats.isFIFO()) return 'a pipe';
	if (stats.isSocket()) return 'a socket';
	if (stats.isSymbolicLink()) return 'a link';
	return 'a device';
}
