// The little of languages' syntax that is needed to tell code from comments and strings, and openers from closers.

export interface Syntax {
	lineComments: readonly string[];
	/** Openers and closers of comments that may span lines. */
	blockComments: readonly (readonly [string, string])[];
	/** Pairs of an opening and a closing bracket. */
	brackets: readonly string[];
	/** The quotes of strings that end with their line, each a character. */
	quotes: string;
	/** The quotes of strings that may span lines, longer quotes first. */
	longQuotes: readonly string[];
	/** Whether a single ' is a lifetime, a type variable or a quoted symbol unless a character literal stands there. */
	ticks: boolean;
	/** Whether `${…}` in backticks is code. */
	templates: boolean;
	/** Whether a slash may begin a regular expression. */
	regularExpressions: boolean;
	/**
	 * How the language uses tags. In `text` only tags open and close. In `code` tags stand among brackets, and a `<` may
	 * compare.
	 */
	tags: 'none' | 'text' | 'code';
}

const C_COMMENTS = [['/*', '*/']] as const;

const COMMON: Syntax = {
	lineComments: ['//'],
	blockComments: C_COMMENTS,
	brackets: ['()', '[]', '{}'],
	quotes: `"'`,
	longQuotes: ['"""', "'''"],
	ticks: false,
	templates: false,
	regularExpressions: false,
	tags: 'none',
};

const HASH: Syntax = { ...COMMON, lineComments: ['#'], blockComments: [] };
const SCRIPT: Syntax = { ...COMMON, longQuotes: [], templates: true, regularExpressions: true };
const SHELL: Syntax = { ...HASH, brackets: ['{}'], longQuotes: ['"', "'"], quotes: '' };
const LISP: Syntax = { ...COMMON, lineComments: [';'], blockComments: [], quotes: '', longQuotes: ['"'], ticks: true };
const MARKUP: Syntax = {
	...COMMON,
	lineComments: [],
	blockComments: [['<!--', '-->']],
	brackets: [],
	quotes: '',
	longQuotes: [],
	tags: 'text',
};
const TEXT: Syntax = { ...MARKUP, blockComments: [], longQuotes: ['```'], tags: 'none' };
const RUST: Syntax = { ...COMMON, quotes: '', longQuotes: ['"'], ticks: true };
const ML: Syntax = {
	...COMMON,
	lineComments: [],
	blockComments: [['(*', '*)']],
	longQuotes: ['"""', '"'],
	quotes: '',
	ticks: true,
};
const DASHES: Syntax = { ...COMMON, lineComments: ['--'], longQuotes: [] };

const SYNTAXES: Readonly<Record<string, Syntax>> = {
	...each(['python', 'starlark', 'gdscript', 'nim', 'julia', 'elixir', 'toml', 'coffeescript'], HASH),
	...each(['r', 'cmake', 'dockerfile', 'makefile', 'yaml', 'dockercompose', 'properties'], { ...HASH, longQuotes: [] }),
	...each(['ruby', 'perl', 'crystal'], { ...HASH, longQuotes: [], regularExpressions: true }),
	...each(['shellscript', 'shell', 'bash', 'sh', 'zsh', 'fish'], SHELL),
	powershell: { ...HASH, blockComments: [['<#', '#>']], longQuotes: [] },
	php: { ...COMMON, lineComments: ['//', '#'], longQuotes: [] },
	...each(['javascript', 'typescript', 'jsonc', 'json5'], SCRIPT),
	...each(['javascriptreact', 'typescriptreact'], { ...SCRIPT, tags: 'code' }),
	go: { ...COMMON, longQuotes: ['`'] },
	rust: RUST,
	scala: { ...COMMON, quotes: '"', longQuotes: ['"""'], ticks: true },
	...each(['ocaml', 'fsharp', 'sml', 'reason'], ML),
	fsharp: { ...ML, lineComments: ['//'] },
	haskell: { ...COMMON, lineComments: ['--'], blockComments: [['{-', '-}']], quotes: '"', longQuotes: [], ticks: true },
	...each(['verilog', 'systemverilog'], { ...COMMON, quotes: '"', ticks: true }),
	...each(['ada', 'vhdl', 'elm'], { ...DASHES, quotes: '"', ticks: true }),
	sql: { ...DASHES, blockComments: C_COMMENTS },
	lua: { ...DASHES, blockComments: [['--[[', ']]']] },
	vb: { ...COMMON, lineComments: ["'"], blockComments: [], quotes: '"', longQuotes: [] },
	...each(['clojure', 'lisp', 'commonlisp', 'scheme', 'racket', 'emacs-lisp'], LISP),
	...each(['matlab', 'octave'], { ...COMMON, lineComments: ['%', '#'], quotes: '"', longQuotes: [], ticks: true }),
	...each(['erlang', 'prolog'], { ...COMMON, lineComments: ['%'], longQuotes: [] }),
	css: { ...COMMON, lineComments: [], longQuotes: [] },
	...each(['html', 'xml', 'xsl', 'svg', 'vue', 'svelte', 'handlebars', 'razor', 'astro', 'erb', 'django-html'], MARKUP),
	...each(['markdown', 'plaintext', 'restructuredtext', 'asciidoc', 'latex', 'tex', 'mdx', 'git-commit'], TEXT),
};

/** The syntax of a language. An unknown language gets C's, since most languages resemble it. */
export function syntaxOf(languageId: string): Syntax {
	return Object.hasOwn(SYNTAXES, languageId) ? SYNTAXES[languageId]! : COMMON;
}

function each(languageIds: readonly string[], syntax: Syntax): Record<string, Syntax> {
	return Object.fromEntries(languageIds.map((id) => [id, syntax]));
}
