// Shows Markdown that grows. Finished blocks are rendered once and then left alone. Each frame renders only the last
// block again, so that a long answer stays as smooth as a short one and selections in it survive.
import { hasLinkDefinitions, renderMarkdown, stableLength } from './markdown';
import { sanitize } from './sanitize';

/** A growing code block that is longer than this is coloured only once it is complete. */
const MAX_LIVE_HIGHLIGHT = 6_000;

export class MarkdownView {
	readonly root: HTMLElement;
	/** Called with each finished piece before it is shown, for example to give code blocks their buttons. */
	readonly #decorate: (piece: DocumentFragment, finished: boolean) => void;
	readonly #tail = document.createElement('div');
	#source = '';
	/** Characters of `#source` whose blocks will not change in the page any more. */
	#stable = 0;
	#frame = 0;

	constructor(root: HTMLElement, decorate: (piece: DocumentFragment, finished: boolean) => void) {
		this.root = root;
		this.#decorate = decorate;
		this.#tail.className = 'tail';
		this.root.append(this.#tail);
	}

	get source(): string {
		return this.#source;
	}

	/** Adds text. The next frame shows it, and `shown` is called after that. */
	append(text: string, shown: () => void): void {
		this.#source += text.replaceAll('\r', '');
		if (this.#frame) return;
		this.#frame = requestAnimationFrame(() => {
			this.#frame = 0;
			this.#update();
			shown();
		});
	}

	/** Shows `source` as the final text. */
	finish(source: string): void {
		cancelAnimationFrame(this.#frame);
		this.#frame = 0;
		const final = source.replaceAll('\r', '');
		if (!final.startsWith(this.#source) || hasLinkDefinitions(final)) {
			this.#stable = 0;
			this.root.replaceChildren(this.#tail);
		}
		this.#source = final;
		this.#tail.before(this.#piece(final.slice(this.#stable), true));
		this.#tail.replaceChildren();
		this.#stable = final.length;
	}

	#update(): void {
		const length = stableLength(this.#source.slice(this.#stable));
		if (length > 0) {
			this.#tail.before(this.#piece(this.#source.slice(this.#stable, this.#stable + length), true));
			this.#stable += length;
		}
		this.#tail.replaceChildren(this.#piece(this.#source.slice(this.#stable), false));
	}

	#piece(source: string, finished: boolean): DocumentFragment {
		const plainCode = !finished && source.length > MAX_LIVE_HIGHLIGHT;
		const piece = sanitize(renderMarkdown(source, { plainCode }));
		this.#decorate(piece, finished);
		return piece;
	}
}
