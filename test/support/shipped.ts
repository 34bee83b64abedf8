// The files of the extension's package, by their paths in the repository. `.vscodeignore` lets through these and no
// others.

/** Sorted. The name of the icons' font has a hash that changes with its contents; `*` stands for that hash. */
export const shippedFiles: string[] = [
	...['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'],
	...['dist/extension.js', 'dist/hearth.js', 'dist/hearth.js.LEGAL.txt', 'dist/llama-peer.js', 'dist/o200k-ranks.js'],
	'dist/native/hearth.node',
	...['dist/webview/benchmark.css', 'dist/webview/benchmark.js', 'dist/webview/chat.css', 'dist/webview/chat.js'],
	...['dist/webview/chat.js.LEGAL.txt', 'dist/webview/codicon-*.ttf'],
	...['media/icon.png', 'media/icon.svg', 'media/walkthrough/benchmark.svg', 'media/walkthrough/chat.svg'],
	...['media/walkthrough/completion.svg', 'media/walkthrough/model.md'],
].sort();

/**
 * Brings names from the repository or from a package into the form and order of `shippedFiles`. A package has other
 * names for three of them.
 */
export function asShipped(names: string[]): string[] {
	const renamed: Record<string, string> = {
		...{ 'readme.md': 'README.md', 'changelog.md': 'CHANGELOG.md', 'LICENSE.txt': 'LICENSE' },
	};
	return names.map((name) => renamed[name] ?? name.replace(/codicon-\w+\.ttf$/, 'codicon-*.ttf')).sort();
}
