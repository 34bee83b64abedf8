// The models chosen before, latest first. No VS Code in here.
const MAX_RECENT = 10;

/** The list with `file` at its head. */
export function addRecent(recent: readonly string[], file: string): string[] {
	return [file, ...recent.filter((other) => other !== file)].slice(0, MAX_RECENT);
}

/**
 * What a user typed or pasted as a path: quotes of a shell or a file manager's "copy as path", a `file:` address and a
 * leading `~` are understood.
 */
export function cleanPath(typed: string, homeDirectory: string): string {
	let text = typed.trim();
	const quoted = /^(["'])(.*)\1$/s.exec(text);
	if (quoted?.[2] !== undefined) text = quoted[2];
	if (URL.canParse(text) && text.startsWith('file://')) text = pathOf(new URL(text));
	return text === '~' || text.startsWith('~/') || text.startsWith('~\\') ? homeDirectory + text.slice(1) : text;
}

/** Works for addresses of any system, which `fileURLToPath` of Node's only does for its own. */
function pathOf({ hostname, pathname }: URL): string {
	// A Windows share; Windows takes slashes too.
	const host = hostname === '' ? '' : `//${hostname}`;
	return host + decoded(pathname).replace(/^\/([A-Za-z]:)/, '$1');
}

/** Percent signs that escape nothing are themselves. */
function decoded(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}
