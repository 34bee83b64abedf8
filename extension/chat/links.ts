// What a link in a model's answer leads to. The model's text is untrusted: only web and mail addresses and files are opened, all
// by the user's click. No VS Code in here.

type LinkTarget =
	| { kind: 'external'; href: string }
	/** Readings of a path, the likeliest first: `src/a.ts:12` may be the name of a file after all. */
	| { kind: 'file'; readings: FileReading[] }
	/** A place in the answer itself. */
	| { kind: 'nothing' }
	/** `command:`, `vscode:`, a network share… */
	| { kind: 'refused' };

export interface FileReading {
	/** With `/` between its parts; absolute as `/a` or `C:/a`. */
	path: string;
	/** From 1. */
	line?: number;
	column?: number;
	endLine?: number;
}

/** A place where a reading may be found. */
export interface FileCandidate extends Omit<FileReading, 'path'> {
	/** Path of a URI: absolute, `/C:/a` on Windows. */
	path: string;
	/** The workspace's folder it is in, as an index; absent: it is in none. */
	folder?: number;
}

/** `:12`, `:12:5`, `:12-20`, `:L12`, `(12,5)` at the end of a path. */
const LINE_SUFFIX = /(?::L?(\d+)(?:[:,](\d+))?(?:-L?(\d+)(?:[:,]\d+)?)?|\((\d+)(?:,\s*(\d+))?\))$/;
/** `#L12`, `#L12-L20`, `#L12C5`, `#12`, `#L12,5`. */
const LINE_FRAGMENT = /^L?(\d+)(?:[C,:](\d+))?(?:-L?(\d+)(?:[C,:]\d+)?)?$/i;
/** Addresses that `:12` does not make a file of. */
const SCHEMES = /^(?:command|vscode[\w-]*|javascript|vbscript|data|blob|about|https?|ftp|mailto|ssh|git|tel):/i;
const DRIVE = /^[a-z]:\//i;

/** Reads the address of a link as Markdown has it: white space and the like may be percent-encoded. */
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

/** Where a reading may be, the likeliest first. @param folders of the workspace, as paths of their URIs */
export function candidatesOf(
	{ path, ...place }: FileReading,
	folders: readonly { name: string; path: string }[],
): FileCandidate[] {
	const paths: string[] = [];
	if (DRIVE.test(path)) paths.push(normalize(`/${path}`));
	else {
		if (path.startsWith('/')) paths.push(normalize(path));
		// Models write `/src/a.ts` for a file of the workspace, too.
		for (const folder of folders) paths.push(normalize(`${folder.path}/${path}`));
		// With several folders, VS Code names a file by its folder first.
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
	// On another machine: looking there would already tell it who asks.
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
	// Beyond its end the editor shows a file's last line; more digits are no number of one.
	const number = (digits: string) => Math.min(Math.max(1, Number(digits)), 1e9);
	return {
		...(line !== undefined && { line: number(line) }),
		...(column !== undefined && { column: number(column) }),
		...(line !== undefined && endLine !== undefined && number(endLine) > number(line) && { endLine: number(endLine) }),
	};
}

/** `command:x` has one; `C:/a` and `a.ts:12` have none. */
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
	// Windows does not tell cases apart.
	const [a, b] = /^\/[a-z]:/i.test(folder) ? [path.toLowerCase(), folder.toLowerCase()] : [path, folder];
	const root = b.replace(/\/+$/, '');
	return a === root || a.startsWith(`${root}/`);
}
