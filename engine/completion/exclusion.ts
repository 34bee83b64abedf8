// The files that the user keeps from the models that complete: those that the setting `completions.exclude` names and, by
// another setting, those that git ignores.
import type { EngineSettings } from '../settings';
import type { DocumentLocation } from './document-location';
import { GitIgnored } from './git-ignored';
import { matchedDepths } from './glob';

/** Documents whose answers are kept. */
const MAX_KEPT = 1000;
/** Characters of a path that are compared with patterns. A longer path is excluded, since a pattern might name it. */
const MAX_PATH = 1024;

export class Exclusion {
	readonly #git = new GitIgnored();
	#named: { readonly patterns: readonly string[]; readonly files: Map<string, boolean> } = {
		patterns: [],
		files: new Map(),
	};

	/** Why a document is kept from the model, for the user; undefined where it is not. Never rejects. */
	async reasonFor(
		location: DocumentLocation,
		{ exclude, excludeGitIgnored }: EngineSettings['completion'],
	): Promise<string | undefined> {
		if (this.#isNamed(location, exclude)) return 'files like this are excluded by hearth.completions.exclude';
		if (excludeGitIgnored && (await this.#git.has(location))) {
			return 'files that git ignores are excluded by hearth.completions.excludeGitIgnored';
		}
		return undefined;
	}

	/** Answers a file's first request by its patterns, and the later ones from memory until the setting changes. */
	#isNamed(location: DocumentLocation, patterns: readonly string[]): boolean {
		if (this.#named.patterns !== patterns || this.#named.files.size >= MAX_KEPT) {
			this.#named = { patterns, files: new Map() };
		}
		const { files } = this.#named;
		const key = [location.path, ...location.folders].join('\0');
		const known = files.get(key);
		if (known !== undefined) return known;
		const answer = isNamed(location, patterns);
		files.set(key, answer);
		return answer;
	}
}

/**
 * Whether a pattern names a document or a folder that it is in. Patterns start at each workspace folder that contains
 * the document, or at the root where none does.
 */
export function isNamed({ path, folders }: DocumentLocation, patterns: readonly string[]): boolean {
	if (path.length > MAX_PATH) return true;
	const relative = folders.length === 0 ? [path] : folders.map((folder) => path.slice(folder.length));
	const paths = relative.map((each) =>
		each
			.split('/')
			.filter((name) => name !== '')
			.join('/'),
	);
	return patterns.some((pattern) => {
		const written = pattern.replaceAll('\\', '/').replace(/^(?:\.?\/)+/, '');
		const withSlash = /\/(?!$)/.test(pattern.replaceAll('\\', '/'));
		const onlyFolders = written.endsWith('/');
		const rule = `${withSlash ? '' : '**/'}${onlyFolders ? written.slice(0, -1) : written}`;
		return paths.some((each) => {
			const depth = onlyFolders ? each.split('/').length : Number.POSITIVE_INFINITY;
			return matchedDepths(rule, each, { braces: true, ignoreCase: true }).some((matched) => matched < depth);
		});
	});
}
