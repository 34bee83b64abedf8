// A line on a terminal that says how far a file is written. Nothing is shown where standard error is no terminal.
import type { WriteProgress } from '../gguf/writer';

/** Shows `WriteOptions.onProgress` on standard error. */
export function progressLine(): (progress: WriteProgress) => void {
	if (!process.stderr.isTTY) return () => undefined;
	let shown = -1;
	return ({ writtenBytes, totalBytes }) => {
		const percent = Math.floor((100 * writtenBytes) / totalBytes);
		if (percent === shown) return;
		shown = percent;
		process.stderr.write(`\rwriting ${percent} %${percent === 100 ? '\n' : ''}`);
	};
}
