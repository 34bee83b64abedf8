// What a link in a model's answer leads to. The model's text is untrusted: only web addresses, mail addresses and files
// are opened, and only when the user clicks. This file does not use VS Code.

type LinkTarget =
	| { kind: 'external'; href: string }
	/**
	 * Readings of a path, the likeliest first. There are several because `src/a.ts:12` may also be the name of a file.
	 */
	| { kind: 'file'; readings: FileReading[] }
	/** The link leads to a place in the answer itself. */
	| { kind: 'nothing' }
	/** `command:`, `vscode:`, a network share and the like are not opened. */
	| { kind: 'refused' };

export interface FileReading {
	/** The parts are separated by `/`. An absolute path is `/a` or `C:/a`. */
	path: string;
	/** Lines count from 1. */
	line?: number;
	column?: number;
	endLine?: number;
}

/** A place where a reading may be found. */
export interface FileCandidate extends Omit<FileReading, 'path'> {
	/** Path of a URI. It is absolute: `/a`, or `/C:/a` on Windows. */
	path: string;
	/** Index of the workspace folder that holds the place. Absent when no workspace folder holds it. */
	folder?: number;
}

/** `:12`, `:12:5`, `:12-20`, `:L12`, `(12,5)` at the end of a path. */
const LINE_SUFFIX = /(?::L?(\d+)(?:[:,](\d+))?(?:-L?(\d+)(?:[:,]\d+)?)?|\((\d+)(?:,\s*(\d+))?\))$/;
/** `#L12`, `#L12-L20`, `#L12C5`, `#12`, `#L12,5`. */
const LINE_FRAGMENT = /^L?(\d+)(?:[C,:](\d+))?(?:-L?(\d+)(?:[C,:]\d+)?)?$/i;
/** These are schemes even when digits follow the colon: `tel:12` is no line of a file, while `a.ts:12` is one. */
const SCHEMES = /^(?:command|vscode[\w-]*|javascript|vbscript|data|blob|about|https?|ftp|mailto|ssh|git|tel):/i;
const DRIVE = /^[a-z]:\//i;

/** Reads the address of a link as Markdown writes it: white space and other characters may be percent-encoded. */
export function readLink(href: string): LinkTarget {
	const address = href.trim();
	if (address === '' || address.startsWith('#')) return { kind: 'nothing' };
	if (/^(?:https?:\/\/|mailto:)/i.test(address)) {
		return URL.canParse(address) ? { kind: 'external', href: address } : { kind: 'refused' };
	}
	if (/^file:/i.test(address)) return readFileUri(address);
	const slashed = decoded(address).replaceAll('\\', '/');
	if (hasScheme(slashed)) return { kind: 'refused' };
	return fileTarget([decoded(address), address]);
}

/**
 * The places where a reading may be found, the likeliest first.
 * @param folders - workspace folders, by the paths of their URIs
 */
export function candidatesOf(
	{ path, ...place }: FileReading,
	folders: readonly { name: string; path: string }[],
): FileCandidate[] {
	const paths: string[] = [];
	if (DRIVE.test(path)) paths.push(normalize(`/${path}`));
	else {
		if (path.startsWith('/')) paths.push(normalize(path));
		// Models also write `/src/a.ts` for a file of the workspace.
		for (const folder of folders) paths.push(normalize(`${folder.path}/${path}`));
		// In a workspace with several folders, VS Code writes the folder's name before the path of a file.
		const relative = path.replace(/^\/+/, '');
		for (const { name, path: root } of folders) {
			if (relative.startsWith(`${name}/`)) paths.push(normalize(`${root}/${relative.slice(name.length + 1)}`));
		}
	}
	return [...new Set(paths)].map((at) => {
		const folder = folders.findIndex(({ path: root }) => isWithin(at, root));
		return { path: at, ...place, ...(folder >= 0 && { folder }) };
	});
}

function readFileUri(address: string): LinkTarget {
	if (!URL.canParse(address)) return { kind: 'refused' };
	const { host, pathname, hash } = new URL(address);
	// The file is on another machine. A look at it would already tell that machine who asks.
	if ((host !== '' && host !== 'localhost') || pathname.startsWith('//')) return { kind: 'refused' };
	return fileTarget([decoded(pathname).replace(/^\/(?=[a-z]:)/i, '') + hash]);
}

function fileTarget(spellings: string[]): LinkTarget {
	const readings: FileReading[] = [];
	for (const spelling of new Set(spellings)) {
		const path = spelling.replaceAll('\\', '/');
		if (path.startsWith('//') || path.includes('\0')) return { kind: 'refused' };
		readings.push(...readingsOf(path));
	}
	return readings.length > 0 ? { kind: 'file', readings } : { kind: 'nothing' };
}

function readingsOf(path: string): FileReading[] {
	const readings: FileReading[] = [];
	const hash = path.indexOf('#');
	const bare = hash < 0 ? path : path.slice(0, hash);
	const fragment = hash < 0 ? undefined : LINE_FRAGMENT.exec(path.slice(hash + 1));
	const add = (at: string, place: Omit<FileReading, 'path'> = {}) => {
		if (at !== '' && !/^[a-z]:$/i.test(at)) readings.push({ path: at, ...place });
	};
	if (fragment) add(bare, placeOf(fragment[1], fragment[2], fragment[3]));
	for (const text of new Set([bare, path])) {
		const suffix = LINE_SUFFIX.exec(text);
		if (suffix) add(text.slice(0, suffix.index), placeOf(suffix[1] ?? suffix[4], suffix[2] ?? suffix[5], suffix[3]));
		add(text);
		const query = text.indexOf('?');
		if (query > 0) add(text.slice(0, query));
	}
	return readings;
}

function placeOf(line?: string, column?: string, endLine?: string): Omit<FileReading, 'path'> {
	// No file has as many lines as this limit. The editor shows the last line of a file for every line beyond its end.
	const number = (digits: string) => Math.min(Math.max(1, Number(digits)), 1e9);
	return {
		...(line !== undefined && { line: number(line) }),
		...(column !== undefined && { column: number(column) }),
		...(line !== undefined && endLine !== undefined && number(endLine) > number(line) && { endLine: number(endLine) }),
	};
}

/** Whether an address starts with a scheme: `command:x` does; `C:/a` and `a.ts:12` do not. */
function hasScheme(address: string): boolean {
	if (SCHEMES.test(address)) return true;
	return /^[a-z][a-z0-9+.-]*:/i.test(address) && !DRIVE.test(address) && !/^[^/:]*:L?\d+(?:\D+\d+)*$/i.test(address);
}

function decoded(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}

/** An absolute path without `.`, `..` and doubled slashes. */
function normalize(path: string): string {
	const parts: string[] = [];
	for (const part of path.split('/')) {
		if (part === '..') parts.pop();
		else if (part !== '' && part !== '.') parts.push(part);
	}
	return `/${parts.join('/')}`;
}

function isWithin(path: string, folder: string): boolean {
	// Windows does not distinguish upper and lower case.
	const [a, b] = /^\/[a-z]:/i.test(folder) ? [path.toLowerCase(), folder.toLowerCase()] : [path, folder];
	const root = b.replace(/\/+$/, '');
	return a === root || a.startsWith(`${root}/`);
}
