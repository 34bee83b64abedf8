// Globs, for the setting `completions.exclude` and for git's rules. A pattern is run as a machine that is in several
// states at once, so the time grows with the length of the pattern times that of the path and never faster. Packages for
// globs make regular expressions of patterns, which backtrack: a short line, which anyone may put into a .gitignore, can
// keep them busy for minutes (docs/dependencies.md).

type Test = (character: string) => boolean;

interface State {
	/** Where each accepted character leads. */
	readonly edges: { readonly accepts: Test; readonly to: number }[];
	/** The states that are entered together with this one. */
	readonly free: number[];
}

interface GlobOptions {
	/** Whether `{a,b}` stands for `a` or `b`. Where it does not, `\` takes the meaning of the character that follows. */
	readonly braces: boolean;
	readonly ignoreCase: boolean;
}

/**
 * How many names from the path's beginning a pattern matches. A path has several such numbers where the pattern matches
 * folders on its way: `?/**` matches the path `a/b/c` at 2 and 3.
 * @param pattern `*`, `?` and `[…]` match no slash. `**` stands for any number of folders.
 * @param path names with slashes between them
 */
export function matchedDepths(pattern: string, path: string, options: GlobOptions): number[] {
	const alike = (text: string) => (options.ignoreCase ? text.toLowerCase() : text).normalize('NFC');
	const { states, accepting } = compile([...alike(pattern)], options);
	const depths: number[] = [];
	let depth = 0;
	let current = new Set<number>();
	enter(states, 0, current);
	for (const character of [...alike(path), undefined]) {
		if (character === undefined || character === '/') {
			depth++;
			if (current.has(accepting)) depths.push(depth);
		}
		if (character === undefined) break;
		const next = new Set<number>();
		for (const state of current) {
			for (const { accepts, to } of states[state]!.edges) if (accepts(character)) enter(states, to, next);
		}
		if (next.size === 0) break;
		current = next;
	}
	return depths;
}

function enter(states: readonly State[], first: number, entered: Set<number>): void {
	const waiting = [first];
	for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
		if (entered.has(state)) continue;
		entered.add(state);
		waiting.push(...states[state]!.free);
	}
}

const notSlash: Test = (character) => character !== '/';

function compile(
	pattern: readonly string[],
	{ braces, ignoreCase }: GlobOptions,
): { states: State[]; accepting: number } {
	const states: State[] = [];
	const add = () => states.push({ edges: [], free: [] }) - 1;
	const edge = (from: number, accepts: Test, to = add()) => {
		states[from]!.edges.push({ accepts, to });
		return to;
	};
	const free = (from: number, to = add()) => {
		states[from]!.free.push(to);
		return to;
	};
	let i = 0;

	/** Any number of whole folders, none included. */
	const folders = (from: number) => {
		const between = free(from);
		const name = edge(between, notSlash);
		edge(name, notSlash, name);
		edge(name, (character) => character === '/', between);
		return between;
	};
	/** One character or more of any kind: all that a folder contains. */
	const contents = (from: number) => {
		const any = edge(from, () => true);
		return edge(any, () => true, any);
	};
	const partOfName = (from: number) => {
		const any = free(from);
		return edge(any, notSlash, any);
	};

	/** @param inner whether a comma or a closing brace ends this part. */
	const part = (from: number, inner: boolean, atNameStart: boolean): number => {
		const ends = (at: number) => at >= pattern.length || (inner && (pattern[at] === ',' || pattern[at] === '}'));
		let at = from;
		let starts = atNameStart;
		while (!ends(i)) {
			const character = pattern[i]!;
			if (character === '*') {
				const first = i;
				while (pattern[i] === '*') i++;
				const double = starts && i - first > 1;
				if (double && pattern[i] === '/') {
					i++;
					at = folders(at);
					continue;
				}
				at = double && ends(i) ? contents(at) : partOfName(at);
			} else if (character === '{' && braces && closingBrace(pattern, i)) {
				const after = add();
				do {
					i++;
					free(part(free(at), true, starts), after);
				} while (pattern[i] === ',');
				i++;
				at = after;
			} else {
				const [accepts, length] = single(pattern, i, braces, ignoreCase);
				i += length;
				at = edge(at, accepts);
			}
			starts = character === '/';
		}
		return at;
	};
	const accepting = part(add(), false, true);
	return { states, accepting };
}

/** The test of one character, and how many characters of the pattern describe it. */
function single(pattern: readonly string[], at: number, braces: boolean, ignoreCase: boolean): [Test, number] {
	const character = pattern[at]!;
	if (character === '?') return [notSlash, 1];
	if (character === '[') {
		const set = characterSet(pattern, at, ignoreCase);
		if (set) return set;
	}
	const escaped = character === '\\' && !braces ? pattern[at + 1] : undefined;
	if (escaped !== undefined) return [(given) => given === escaped, 2];
	return [(given) => given === character, 1];
}

/** The names of sets within `[…]`, e.g. `[[:digit:]]`. */
const NAMED_SETS: Readonly<Record<string, RegExp>> = {
	alpha: /[A-Za-z]/,
	digit: /[0-9]/,
	alnum: /[A-Za-z0-9]/,
	lower: /[a-z]/,
	upper: /[A-Z]/,
	space: /\s/,
	blank: /[ \t]/,
	punct: /[!-/:-@[-`{-~]/,
	xdigit: /[0-9A-Fa-f]/,
};

/** A set in brackets; undefined where nothing closes it. */
function characterSet(pattern: readonly string[], start: number, ignoreCase: boolean): [Test, number] | undefined {
	let i = start + 1;
	const negated = pattern[i] === '!' || pattern[i] === '^';
	if (negated) i++;
	const tests: Test[] = [];
	for (const first = i; ; ) {
		let low = pattern[i++];
		if (low === undefined) return undefined;
		// A closing bracket that comes first is a character of the set.
		if (low === ']' && i > first + 1) break;
		const [, name] = (low === '[' && /^:(\w+):\]/.exec(pattern.slice(i, i + 10).join(''))) || [];
		const named = name && NAMED_SETS[ignoreCase && name === 'upper' ? 'lower' : name];
		if (name && named) {
			tests.push((given) => named.test(given));
			i += name.length + 3;
			continue;
		}
		if (low === '\\' && pattern[i] !== undefined) low = pattern[i++]!;
		let high = low;
		if (pattern[i] === '-' && pattern[i + 1] !== undefined && pattern[i + 1] !== ']') {
			high = pattern[i + 1]!;
			i += 2;
			if (high === '\\' && pattern[i] !== undefined) high = pattern[i++]!;
		}
		const [from, to] = [low, high];
		tests.push((given) => given >= from && given <= to);
	}
	return [(given) => notSlash(given) && tests.some((test) => test(given)) !== negated, i - start];
}

function closingBrace(pattern: readonly string[], open: number): boolean {
	let depth = 0;
	for (let i = open; i < pattern.length; i++) {
		if (pattern[i] === '{') depth++;
		if (pattern[i] === '}' && --depth === 0) return true;
	}
	return false;
}
