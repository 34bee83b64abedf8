// Turns the Markdown of model output into HTML. HTML in the source stays text. Pictures become links, because loading a
// picture would tell its server that the answer was read. Whatever comes out still goes through the sanitiser in
// sanitize.ts.
import hljs from 'highlight.js/lib/common';
import MarkdownIt from 'markdown-it';
import { keepFormulas } from './math';

/** Longer code is shown without colours, because highlighting it would make the page stumble. */
const MAX_HIGHLIGHTED_CHARACTERS = 60_000;

const markdown = new MarkdownIt({
	html: false,
	linkify: true,
	highlight: (code, language) => highlightCode(code, language),
});
// Otherwise `main.rs`, `app.py` and `README.md` would all become web addresses.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

keepFormulas(markdown);
markdown.renderer.rules['formula'] = (tokens, index) =>
	`<p class="formula">${markdown.utils.escapeHtml(tokens[index]?.content ?? '')}</p>\n`;
// The extension host decides about links to files, so they are let through here.
const validLink = markdown.validateLink;
markdown.validateLink = (address) => /^\s*file:/i.test(address) || validLink(address);

markdown.renderer.rules['fence'] = (tokens, index, options, env) => {
	const token = tokens[index];
	if (!token) return '';
	const language = token.info.trim().split(/\s+/)[0] ?? '';
	const code = (env as RenderOptions | undefined)?.plainCode
		? markdown.utils.escapeHtml(token.content)
		: options.highlight?.(token.content, language, '');
	return codeBlock(code ?? markdown.utils.escapeHtml(token.content), language);
};
markdown.renderer.rules['code_block'] = (tokens, index) =>
	codeBlock(markdown.utils.escapeHtml(tokens[index]?.content ?? ''), '');
markdown.renderer.rules['image'] = (tokens, index) => {
	const token = tokens[index];
	const source = String(token?.attrGet('src') ?? '');
	const label = token?.content || source;
	return `<a href="${markdown.utils.escapeHtml(source)}">${markdown.utils.escapeHtml(label)}</a>`;
};
// markdown-it aligns table cells by inline styles, and the page's policy forbids those.
for (const rule of ['th_open', 'td_open'] as const) {
	markdown.renderer.rules[rule] = (tokens, index, options, _env, renderer) => {
		const token = tokens[index];
		const alignment = /text-align:(left|center|right)/.exec(String(token?.attrGet('style') ?? ''))?.[1];
		if (token) {
			token.attrs = (token.attrs ?? []).filter(([name]) => name !== 'style');
			if (alignment) token.attrJoin('class', `align-${alignment}`);
		}
		return renderer.renderToken(tokens, index, options);
	};
}

interface RenderOptions {
	/** Leaves code uncoloured. It is for a block that is still growing. */
	plainCode?: boolean;
}

/** Returns the HTML of `source`. It is not sanitised yet. */
export function renderMarkdown(source: string, options: RenderOptions = {}): string {
	return markdown.render(source, { ...options });
}

/**
 * Returns how many characters at the start of `source` no appended text can change. The last line may still become
 * anything, and the last top-level block of the complete lines may still grow. Everything before that block is stable.
 */
export function stableLength(source: string): number {
	const complete = source.slice(0, source.lastIndexOf('\n') + 1);
	const tokens: ReturnType<typeof markdown.parse> = [];
	markdown.block.parse(complete, markdown, {}, tokens);
	const starts = tokens.filter((token) => token.level === 0 && token.nesting >= 0 && token.map);
	const lastLine = starts.at(-1)?.map?.[0];
	return starts.length < 2 || lastLine === undefined ? 0 : offsetOfLine(complete, lastLine);
}

/** Whether `source` may define links for other blocks. Its blocks can then not be rendered one by one. */
export function hasLinkDefinitions(source: string): boolean {
	return /^ {0,3}\[[^\]\n]+\]:/m.test(source);
}

function highlightCode(code: string, language: string): string {
	if (code.length <= MAX_HIGHLIGHTED_CHARACTERS && hljs.getLanguage(language)) {
		return hljs.highlight(code, { language, ignoreIllegals: true }).value;
	}
	return markdown.utils.escapeHtml(code);
}

function codeBlock(code: string, language: string): string {
	return `<pre><code class="${markdown.utils.escapeHtml(`language-${language || 'text'}`)}">${code}</code></pre>\n`;
}

function offsetOfLine(text: string, line: number): number {
	let offset = 0;
	for (let i = 0; i < line; i++) offset = text.indexOf('\n', offset) + 1;
	return offset;
}
