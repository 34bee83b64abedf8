// The models chosen before, the latest first. This file does not use VS Code.
const MAX_RECENT = 10;

/** Returns the list with `file` at its head. */
export function addRecent(recent: readonly string[], file: string): string[] {
	return [file, ...recent.filter((other) => other !== file)].slice(0, MAX_RECENT);
}

/**
 * Reads what a user typed or pasted as a path. It understands the quotes of a shell or of a file manager's "copy as
 * path", a `file:` address and a leading `~`.
 */
export function cleanPath(typed: string, homeDirectory: string): string {
	let text = typed.trim();
	const quoted = /^(["'])(.*)\1$/s.exec(text);
	if (quoted?.[2] !== undefined) text = quoted[2];
	if (URL.canParse(text) && text.startsWith('file://')) text = pathOf(new URL(text));
	return text === '~' || text.startsWith('~/') || text.startsWith('~\\') ? homeDirectory + text.slice(1) : text;
}

/** The path of a `file:` address of any system. `fileURLToPath` of Node.js handles only addresses of its own system. */
function pathOf({ hostname, pathname }: URL): string {
	// A host means a Windows share. Windows accepts slashes, too.
	const host = hostname === '' ? '' : `//${hostname}`;
	return host + decoded(pathname).replace(/^\/([A-Za-z]:)/, '$1');
}

/** Decodes percent escapes. A percent sign that escapes nothing stays as it is. */
function decoded(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}
