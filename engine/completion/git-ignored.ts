// What git ignores: the rules of each `.gitignore` from the repository's folder down to the file's, and those of
// `.git/info/exclude`. These files belong to the workspace, so their size is limited, links are not followed, and one that
// cannot be read has no rules. A file that git tracks although a rule names it counts as ignored, too.
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { entryAt, readSmallFile } from '../models/small-file';
import type { DocumentLocation } from './document-location';
import { matchedDepths } from './glob';

/** The rules are read again after so many milliseconds. */
const READ_AGAIN_AFTER = 3000;
/** Rules beyond so many bytes of a file are not read. */
const MAX_RULES_BYTES = 65_536;
/** The nearest folders above a file that are looked into. */
const MAX_FOLDERS = 64;
/** Folders whose rules are kept, and files of a folder whose answers are. */
const MAX_KEPT = 500;
/** A path that is longer is not compared with rules. It counts as ignored, since the rules might ignore it. */
const MAX_PATH = 1024;
/** A rule that is longer is left out. */
const MAX_RULE = 1024;
/** Rules are compared for so many milliseconds before the engine's other work has a turn. */
const TURN = 5;

/** The text of one file with rules. Its patterns start at this folder. */
interface RulesFile {
	readonly folder: string;
	readonly text: string;
}

interface Rules {
	/** The rules of later files go before those of earlier ones. */
	readonly files: readonly RulesFile[];
	readonly ignored: Map<string, Promise<boolean>>;
}

export class GitIgnored {
	readonly #rules = new Map<string, { at: number; rules: Promise<Rules> }>();

	/** Never rejects. A document that is no file of this machine is not ignored. */
	async has({ path: file, folders, onDisk }: DocumentLocation): Promise<boolean> {
		if (!onDisk) return false;
		const { files, ignored } = await this.#rulesFor(path.posix.dirname(file), folders);
		if (files.length === 0) return false;
		const known = ignored.get(file);
		if (known !== undefined) return known;
		if (ignored.size >= MAX_KEPT) ignored.clear();
		const answer = isIgnored(file, files);
		ignored.set(file, answer);
		return answer;
	}

	async #rulesFor(folder: string, workspaceFolders: readonly string[]): Promise<Rules> {
		const key = [folder, ...workspaceFolders].join('\0');
		const kept = this.#rules.get(key);
		const now = performance.now();
		if (kept && now - kept.at < READ_AGAIN_AFTER) return kept.rules;
		if (this.#rules.size >= MAX_KEPT) this.#rules.clear();
		const rules = readRules(folder, workspaceFolders).then(async (files) => {
			const before = await kept?.rules;
			const same =
				before?.files.length === files.length &&
				files.every(({ folder: at, text }, i) => before.files[i]!.folder === at && before.files[i]!.text === text);
			return same ? before : { files, ignored: new Map<string, Promise<boolean>>() };
		});
		this.#rules.set(key, { at: now, rules });
		return rules;
	}
}

/** The files with rules for a folder. Without a repository they start at the workspace folder. */
async function readRules(folder: string, workspaceFolders: readonly string[]): Promise<RulesFile[]> {
	const above: string[] = [];
	let root: string | undefined;
	for (let at = folder; above.length < MAX_FOLDERS; at = path.posix.dirname(at)) {
		above.unshift(at);
		if (await entryAt(onThisSystem(`${at}/.git`)).catch(() => undefined)) {
			root = at;
			break;
		}
		if (at === path.posix.dirname(at)) break;
	}
	root ??= [...workspaceFolders].sort((a, b) => a.length - b.length)[0];
	if (root === undefined) return [];
	const inRoot = above.filter((at) => at === root || at.startsWith(root === '/' ? root : `${root}/`));
	const read = async (at: string, name: string) => ({ folder: at, text: await readOwnFile(`${at}/${name}`) });
	const files = await Promise.all([read(root, '.git/info/exclude'), ...inRoot.map((at) => read(at, '.gitignore'))]);
	return files.filter(({ text }) => text !== '');
}

/** The beginning of a file. It is empty where there is no file, or something that is none, or one that cannot be read. */
async function readOwnFile(file: string): Promise<string> {
	const name = onThisSystem(file);
	try {
		if (!(await entryAt(name))?.isFile()) return '';
		return (await readSmallFile(name, MAX_RULES_BYTES)) ?? '';
	} catch {
		return '';
	}
}

/** The path of a URI as the system takes it: `/c:/a` is `c:/a` on Windows. */
function onThisSystem(file: string): string {
	return process.platform === 'win32' ? file.replace(/^\/+(?=[a-z]:)/i, '') : file;
}

async function isIgnored(file: string, files: readonly RulesFile[]): Promise<boolean> {
	const root = files.reduce((shortest, { folder }) => (folder.length < shortest.length ? folder : shortest), file);
	const depthOf = (folder: string) => folder.split('/').filter((name) => name !== '').length;
	const names = depthOf(file) - depthOf(root);
	if (file.length - root.length > MAX_PATH) return true;
	/** What the last rule says of the folder or file that is so many names below the root. */
	const said: boolean[] = [];
	let turnStarted = performance.now();
	for (const { folder, text } of files) {
		const above = depthOf(folder) - depthOf(root);
		const inFolder = file.slice(folder.length).replace(/^\/+/, '');
		for (const rule of rulesOf(text)) {
			if (performance.now() - turnStarted > TURN) {
				await nextTurn();
				turnStarted = performance.now();
			}
			const depths = matchedDepths(rule.pattern, inFolder, {
				braces: false,
				ignoreCase: process.platform === 'win32' || process.platform === 'darwin',
			});
			for (const depth of depths) {
				if (!rule.onlyFolders || above + depth < names) said[above + depth] = !rule.takesBack;
			}
		}
	}
	// A file in a folder that is ignored cannot be taken back.
	return said.includes(true);
}

/** The rules in the text of a `.gitignore`, in their order. Their patterns start at the file's folder. */
function rulesOf(text: string): { pattern: string; takesBack: boolean; onlyFolders: boolean }[] {
	return text
		.replace(/^\uFEFF/, '')
		.split(/\r?\n/)
		.filter((line) => line !== '' && line.length <= MAX_RULE && !line.startsWith('#'))
		.flatMap((line) => {
			const takesBack = line.startsWith('!');
			const written = withoutSpacesAtEnd(takesBack ? line.slice(1) : line);
			const onlyFolders = written.endsWith('/');
			const path = onlyFolders ? written.slice(0, -1) : written;
			if (path === '') return [];
			const anywhere = !path.includes('/');
			return [{ pattern: anywhere ? `**/${path}` : path.replace(/^\//, ''), takesBack, onlyFolders }];
		});
}

/** Git does not count spaces at a rule's end, unless a backslash stands before them. */
function withoutSpacesAtEnd(rule: string): string {
	let end = rule.length;
	while (rule[end - 1] === ' ' && rule[end - 2] !== '\\') end--;
	return rule.slice(0, end);
}
