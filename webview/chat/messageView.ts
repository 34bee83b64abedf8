// One message of the conversation on the page. The user's message has its attachments. The model's message has its
// reasoning, answer, figures and errors.

import { formatRate } from '../../engine/units';
import type {
	AnswerTexts,
	AssistantEntry,
	ChatEntry,
	ErrorAction,
	ReasoningDisplay,
	ShownError,
	UserEntry,
} from '../messages';
import { element, icon, iconButton, textButton } from '../shared/dom';
import { formatDuration, formatTokens } from '../shared/format';
import { MarkdownView } from './markdownView';

export interface MessageEvents {
	copy(text: string, button: HTMLButtonElement): void;
	insert(text: string): void;
	edit(entry: UserEntry): void;
	regenerate(): void;
	action(action: ErrorAction): void;
	/** The view has grown. */
	grown(): void;
}

export const ACTION_LABELS: Record<ErrorAction, string> = {
	'select-model': 'Select Model…',
	'show-log': 'Show Log',
	'restart-engine': 'Restart Engine',
	'new-chat': 'New Chat',
	'open-settings': 'Open Settings',
	retry: 'Try Again',
};

interface MessageView {
	readonly root: HTMLElement;
	/**
	 * Marks the message as the last of its kind. The last question can be edited, and the last answer can be regenerated.
	 */
	setLast(last: boolean): void;
	dispose(): void;
}

export class UserMessageView implements MessageView {
	readonly root: HTMLElement;

	constructor(entry: UserEntry, events: MessageEvents) {
		const edit = iconButton('edit', 'Edit and send again', () => events.edit(entry), { class: 'icon-button edit' });
		this.root = element(
			'article',
			{ class: 'message user', 'data-id': entry.id, 'aria-label': 'You' },
			element('header', {}, element('h2', {}, 'You'), edit),
			entry.attachments.length > 0 &&
				element(
					'ul',
					{ class: 'chips', 'aria-label': 'Attached' },
					...entry.attachments.map(({ label }) => element('li', { class: 'chip' }, icon('file'), label)),
				),
			element('div', { class: 'body' }, entry.content),
		);
	}

	setLast(last: boolean): void {
		this.root.toggleAttribute('data-last', last);
	}

	dispose(): void {}
}

export class AssistantMessageView implements MessageView {
	readonly root: HTMLElement;
	readonly #events: MessageEvents;
	readonly #reasoning = element('details', { class: 'reasoning', hidden: true });
	readonly #reasoningLabel = element('span', { class: 'label' });
	readonly #reasoningView: MarkdownView;
	readonly #preamble = element('div', { class: 'preamble markdown', hidden: true });
	readonly #preambleView: MarkdownView;
	readonly #bodyView: MarkdownView;
	readonly #waiting = element('div', { class: 'waiting' }, icon('loading codicon-modifier-spin'), 'Reading…');
	readonly #error = element('div', { class: 'error', role: 'alert', hidden: true });
	readonly #notice = element('div', { class: 'outcome', hidden: true });
	readonly #footer = element('footer', {});
	#entry: AssistantEntry;
	#display: ReasoningDisplay;
	#clock: ReturnType<typeof setInterval> | undefined;
	#reasoningStartedAt = performance.now();

	constructor(entry: AssistantEntry, display: ReasoningDisplay, events: MessageEvents) {
		this.#events = events;
		this.#entry = entry;
		this.#display = display;
		const decorate = (piece: DocumentFragment, finished: boolean) => decorateCode(piece, finished, events);
		const reasoningBody = element('div', { class: 'reasoning-body markdown' });
		const body = element('div', { class: 'body markdown' });
		this.#reasoningView = new MarkdownView(reasoningBody, decorate);
		this.#preambleView = new MarkdownView(this.#preamble, decorate);
		this.#bodyView = new MarkdownView(body, decorate);
		this.#reasoning.append(
			element('summary', {}, icon('lightbulb'), this.#reasoningLabel, ...chevrons()),
			reasoningBody,
		);
		this.#reasoning.open = display === 'expanded';
		this.root = element(
			'article',
			{ class: 'message assistant', 'data-id': entry.id, 'aria-label': 'Hearth' },
			element('header', {}, element('h2', {}, 'Hearth')),
			this.#reasoning,
			this.#preamble,
			this.#waiting,
			body,
			this.#error,
			this.#notice,
			this.#footer,
		);
		if (entry.state === 'streaming') {
			this.#reasoningStartedAt = performance.now() - (entry.thinkingMilliseconds ?? 0);
			this.#reasoningView.append(entry.reasoning, events.grown);
			this.#preambleView.append(entry.preamble ?? '', events.grown);
			this.#bodyView.append(entry.content, events.grown);
			this.#clock = setInterval(() => this.#showReasoning(), 1000);
		}
		this.update(entry);
	}

	/** Shows the entry's state. Once the entry has ended, it also shows the whole text. */
	update(entry: AssistantEntry): void {
		this.#entry = entry;
		this.root.setAttribute('data-state', entry.state);
		if (entry.state !== 'streaming') {
			this.dispose();
			this.#reasoningView.finish(entry.reasoning);
			this.#preambleView.finish(entry.preamble ?? '');
			this.#bodyView.finish(entry.content);
		}
		this.#showReasoning();
		this.#showProblem(this.#error, 'error', entry.error);
		this.#showProblem(this.#notice, 'info', entry.notice);
		this.#showFooter();
	}

	append({ reasoning, preamble = '', content }: AnswerTexts): void {
		if (reasoning !== '') {
			if (this.#entry.reasoning === '') this.#reasoningStartedAt = performance.now();
			this.#entry.reasoning += reasoning;
			this.#reasoningView.append(reasoning, this.#events.grown);
		}
		if (preamble !== '') {
			this.#entry.preamble = (this.#entry.preamble ?? '') + preamble;
			this.#preambleView.append(preamble, this.#events.grown);
		}
		if (content !== '') {
			if (this.#entry.content === '' && this.#entry.reasoning !== '') {
				this.#entry.reasoningMilliseconds ??= performance.now() - this.#reasoningStartedAt;
			}
			this.#entry.content += content;
			this.#bodyView.append(content, this.#events.grown);
		}
		this.#showReasoning();
	}

	setDisplay(display: ReasoningDisplay): void {
		this.#display = display;
		this.#reasoning.open = display === 'expanded';
		this.#showReasoning();
	}

	setLast(last: boolean): void {
		this.root.toggleAttribute('data-last', last);
	}

	dispose(): void {
		clearInterval(this.#clock);
		this.#clock = undefined;
	}

	#showReasoning(): void {
		const { state, reasoning, preamble = '', content, reasoningMilliseconds } = this.#entry;
		const thinking = state === 'streaming' && reasoningMilliseconds === undefined && reasoning !== '';
		this.#waiting.hidden = !(state === 'streaming' && reasoning === '' && preamble === '' && content === '');
		this.#preamble.hidden = preamble === '';
		this.#reasoning.hidden = reasoning === '';
		this.#reasoning.toggleAttribute('data-thinking', thinking);
		this.#reasoning.toggleAttribute('data-closed', this.#display === 'hidden');
		if (this.#display === 'hidden') this.#reasoning.open = false;
		this.#reasoningLabel.textContent = thinking
			? `Thinking… ${Math.floor((performance.now() - this.#reasoningStartedAt) / 1000)} s`
			: reasoningMilliseconds === undefined
				? 'Thought'
				: `Thought for ${formatDuration(reasoningMilliseconds)}`;
	}

	#showProblem(at: HTMLElement, symbol: string, problem: ShownError | undefined): void {
		at.hidden = !problem;
		at.replaceChildren();
		if (!problem) return;
		at.append(
			element('p', {}, icon(symbol), problem.message),
			element(
				'div',
				{ class: 'buttons' },
				...problem.actions.map((action) =>
					textButton(ACTION_LABELS[action], () => this.#events.action(action), { 'data-action': action }),
				),
			),
		);
	}

	#showFooter(): void {
		const { state, content, stats } = this.#entry;
		this.#footer.replaceChildren();
		this.#footer.hidden = state === 'streaming';
		if (this.#footer.hidden) return;
		if (content !== '') {
			const copy = iconButton('copy', 'Copy answer', () => this.#events.copy(content, copy), {
				class: 'icon-button copy-answer',
			});
			this.#footer.append(copy);
		}
		this.#footer.append(
			iconButton('refresh', 'Answer again', () => this.#events.regenerate(), { class: 'icon-button regenerate' }),
		);
		const facts: string[] = [];
		if (state === 'stopped') facts.push('stopped');
		if (state === 'length') facts.push('cut off at the length limit');
		if (stats && stats.decodeTokensPerSecond > 0) facts.push(`${formatRate(stats.decodeTokensPerSecond)} tok/s`);
		if (stats) facts.push(`${formatTokens(stats.generatedTokens)} tokens`);
		if (stats?.droppedMessages) facts.push(`without the ${stats.droppedMessages} oldest messages, which no longer fit`);
		const details = stats
			? `first token after ${formatDuration(stats.firstTokenMilliseconds)}, ${formatDuration(stats.milliseconds)} in all; prompt of ${stats.promptTokens} tokens, ${stats.cachedTokens} of them cached`
			: undefined;
		this.#footer.append(element('span', { class: 'stats', title: details }, facts.join(' · ')));
	}
}

/** The view for an entry of either kind. */
export function createMessageView(
	entry: ChatEntry,
	display: ReasoningDisplay,
	events: MessageEvents,
): UserMessageView | AssistantMessageView {
	return entry.role === 'user' ? new UserMessageView(entry, events) : new AssistantMessageView(entry, display, events);
}

/** Two icons; the style sheet decides which of them is visible. */
function chevrons(): HTMLElement[] {
	return [icon('chevron-right chevron when-closed'), icon('chevron-down chevron when-open')];
}

/** Gives every code block the name of its language and, once the block is complete, its buttons. */
function decorateCode(piece: DocumentFragment, finished: boolean, events: MessageEvents): void {
	for (const pre of piece.querySelectorAll('pre')) {
		const code = pre.querySelector('code');
		const language = /language-(\S+)/.exec(code?.className ?? '')?.[1] ?? 'text';
		const header = element('div', { class: 'code-header' }, element('span', {}, language));
		if (finished) {
			const text = (code?.textContent ?? '').replace(/\n$/, '');
			const copy = iconButton('copy', 'Copy code', () => events.copy(text, copy), { class: 'icon-button copy-code' });
			const insert = iconButton('insert', 'Insert at cursor', () => events.insert(text), {
				class: 'icon-button insert-code',
			});
			header.append(copy, insert);
		}
		pre.tabIndex = 0;
		const block = element('div', { class: 'code-block' }, header);
		pre.replaceWith(block);
		block.append(pre);
	}
}
