// The files of code that positions are taken from.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface Source {
	/** As reports name it. */
	name: string;
	folder: string;
}

export interface SourceFile {
	source: string;
	/** Within the source's folder, with slashes. */
	name: string;
	languageId: string;
	text: string;
}

/** VS Code's identifier of the language of files with an ending. */
const LANGUAGES: Readonly<Record<string, string>> = {
	'.ts': 'typescript',
	'.mts': 'typescript',
	'.tsx': 'typescriptreact',
	'.js': 'javascript',
	'.mjs': 'javascript',
	'.jsx': 'javascriptreact',
	'.py': 'python',
	'.rb': 'ruby',
	'.rs': 'rust',
	'.go': 'go',
	'.c': 'c',
	'.h': 'cpp',
	'.hpp': 'cpp',
	'.cpp': 'cpp',
	'.java': 'java',
	'.sql': 'sql',
	'.sh': 'shellscript',
	'.bash': 'shellscript',
	'.yml': 'yaml',
	'.yaml': 'yaml',
	'.html': 'html',
	'.css': 'css',
	'.scss': 'scss',
};

/** Folders of what was installed, built or compiled. */
const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'build', 'output', 'vendor', 'locale', 'target']);
/** Declarations and minified files are not typed by hand. */
const SKIPPED_FILES = /\.d\.m?ts$|\.min\.|\.test-d\./;
/** Characters of a file: shorter ones say too little, longer ones are mostly generated. */
const MIN_CHARACTERS = 200;
const MAX_CHARACTERS = 80_000;
/** Characters of a line that somebody typed. */
const MAX_LINE = 400;

/** All files of code below the sources' folders, always in the same order. */
export function readSources(sources: readonly Source[]): SourceFile[] {
	return sources.flatMap(({ name, folder }) =>
		filesBelow(folder, '').flatMap((file) => {
			const languageId = LANGUAGES[path.extname(file)];
			if (languageId === undefined || SKIPPED_FILES.test(file)) return [];
			const text = readFileSync(path.join(folder, file), 'utf8');
			return isTyped(text) ? [{ source: name, name: file, languageId, text }] : [];
		}),
	);
}

function filesBelow(root: string, folder: string): string[] {
	const entries = readdirSync(path.join(root, folder), { withFileTypes: true });
	entries.sort((a, b) => (a.name < b.name ? -1 : 1));
	return entries.flatMap((entry) => {
		if (entry.name.startsWith('.')) return [];
		const name = path.posix.join(folder, entry.name);
		if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : filesBelow(root, name);
		return entry.isFile() ? [name] : [];
	});
}

function isTyped(text: string): boolean {
	if (text.length < MIN_CHARACTERS || text.length > MAX_CHARACTERS || text.includes('\0') || text.includes('\r'))
		return false;
	return text.split('\n').every((line) => line.length <= MAX_LINE);
}
