// Where the user writes. It has the prompt, its attachments, the reasoning effort and a meter of how full the context
// is.
import type { ReasoningEffort } from '../../engine/protocol';
import type { Attachment, ChatSnapshot, UserEntry } from '../messages';
import { element, icon, iconButton } from '../shared/dom';
import { formatTokens } from '../shared/format';

interface ComposerEvents {
	send(text: string, replaces: string | undefined): void;
	stop(): void;
	attach(what: 'suggestion' | 'pick'): void;
	detach(id: string): void;
	effort(effort: ReasoningEffort): void;
	/** The text that is not sent yet has changed. */
	draft(text: string): void;
}

export class Composer {
	readonly root: HTMLFormElement;
	readonly #events: ComposerEvents;
	readonly #prompt = element('textarea', {
		id: 'prompt',
		rows: 1,
		placeholder: 'Ask about your code',
		'aria-label': 'Message to Hearth. Enter sends, Shift+Enter makes a new line.',
	});
	readonly #chips = element('ul', { id: 'attachments', class: 'chips', 'aria-label': 'Context of the next message' });
	readonly #editing = element('div', { id: 'editing', hidden: true });
	readonly #send = element(
		'button',
		{ id: 'send', type: 'submit', class: 'icon-button', title: 'Send (Enter)', 'aria-label': 'Send' },
		icon('send'),
	);
	readonly #stop: HTMLButtonElement;
	readonly #effort = element(
		'select',
		{ id: 'effort', hidden: true, title: 'How long the model may think', 'aria-label': 'Reasoning effort' },
		element('option', { value: 'low' }, 'Low'),
		element('option', { value: 'medium' }, 'Medium'),
		element('option', { value: 'high' }, 'High'),
	);
	readonly #meter = element('div', { id: 'context-meter', role: 'meter', hidden: true, 'aria-label': 'Context used' });
	#replaces: UserEntry | undefined;
	#generating = false;
	#canSend = true;

	constructor(events: ComposerEvents, draft: string) {
		this.#events = events;
		this.#stop = iconButton('debug-stop', 'Stop (Escape)', () => events.stop(), { id: 'stop', hidden: true });
		this.#prompt.value = draft;
		this.root = element(
			'form',
			{ id: 'composer' },
			this.#editing,
			this.#chips,
			this.#prompt,
			element(
				'div',
				{ class: 'bar' },
				iconButton('add', 'Add context…', () => events.attach('pick'), { id: 'attach' }),
				this.#effort,
				this.#meter,
				element('span', { class: 'spacer' }),
				this.#send,
				this.#stop,
			),
		);
		this.#editing.append(
			icon('edit'),
			element('span', {}, 'Editing your last message'),
			iconButton('close', 'Cancel editing', () => this.#endEditing(), { id: 'cancel-edit' }),
		);
		this.root.addEventListener('submit', (event) => {
			event.preventDefault();
			this.#submit();
		});
		this.#prompt.addEventListener('keydown', (event) => this.#keydown(event));
		this.#prompt.addEventListener('input', () => this.#changed());
		this.#effort.addEventListener('change', () => events.effort(this.#effort.value as ReasoningEffort));
		this.#changed();
	}

	focus(): void {
		this.#prompt.focus();
	}

	/** Handles Escape anywhere on the page: it leaves editing, or else stops the answer. */
	escape(): void {
		if (this.#replaces) this.#endEditing();
		else if (this.#generating) this.#events.stop();
	}

	edit(entry: UserEntry): void {
		this.#replaces = entry;
		this.#editing.hidden = false;
		this.#prompt.value = entry.content;
		this.#changed();
		this.focus();
	}

	setGenerating(generating: boolean): void {
		// The button under the focus is about to disappear.
		const focused = document.activeElement === this.#send || document.activeElement === this.#stop;
		this.#generating = generating;
		this.#send.hidden = generating;
		this.#stop.hidden = !generating;
		if (focused) this.focus();
		this.#changed();
	}

	setCanSend(canSend: boolean): void {
		this.#canSend = canSend;
		this.#changed();
	}

	/** Says whether the model has a reasoning effort. The choice is hidden until a model is known. */
	setTakesEffort(takes: boolean): void {
		this.#effort.hidden = !takes;
	}

	setEffort(effort: ReasoningEffort): void {
		this.#effort.value = effort;
	}

	setAttachments(attachments: Attachment[], suggestion: ChatSnapshot['suggestion']): void {
		this.#chips.replaceChildren(
			...attachments.map(({ id, label }) =>
				element(
					'li',
					{ class: 'chip', title: label },
					icon('file'),
					element('span', { class: 'label' }, label),
					iconButton('close', `Remove ${label}`, () => this.#events.detach(id), { class: 'icon-button remove' }),
				),
			),
		);
		if (!suggestion || attachments.some(({ label }) => label === suggestion.label)) return;
		const add = element(
			'button',
			{ type: 'button', id: 'attach-suggestion', title: `Add ${suggestion.label} to the message` },
			icon('add'),
			element('span', { class: 'label' }, suggestion.label),
		);
		add.addEventListener('click', () => {
			this.#events.attach('suggestion');
			this.focus();
		});
		this.#chips.append(element('li', { class: 'chip suggestion' }, add));
	}

	/**
	 * @param used - positions that the conversation took in the context after its last answer; undefined: not known yet
	 */
	setContext(used: number | undefined, total: number): void {
		this.#meter.hidden = used === undefined;
		if (used === undefined) return;
		const share = Math.min(1, used / total);
		const text = `${formatTokens(used)} / ${formatTokens(total)}`;
		const bar = element('span', { class: 'fill' });
		bar.style.width = `${Math.round(share * 100)}%`;
		this.#meter.replaceChildren(element('span', { class: 'track' }, bar), element('span', { class: 'value' }, text));
		this.#meter.title = `${used.toLocaleString('en')} of ${total.toLocaleString('en')} tokens of context used`;
		this.#meter.toggleAttribute('data-full', share > 0.85);
		this.#meter.setAttribute('aria-valuemin', '0');
		this.#meter.setAttribute('aria-valuemax', String(total));
		this.#meter.setAttribute('aria-valuenow', String(used));
		this.#meter.setAttribute('aria-valuetext', `${Math.round(share * 100)} percent`);
	}

	#keydown(event: KeyboardEvent): void {
		// While an input method composes a character, Enter belongs to the input method.
		if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
		event.preventDefault();
		this.#submit();
	}

	#submit(): void {
		const text = this.#prompt.value.trim();
		if (text === '' || this.#generating || !this.#canSend) return;
		const replaces = this.#replaces?.id;
		this.#prompt.value = '';
		this.#endEditing();
		this.#events.send(text, replaces);
	}

	#endEditing(): void {
		if (this.#replaces) this.#prompt.value = '';
		this.#replaces = undefined;
		this.#editing.hidden = true;
		this.#changed();
	}

	#changed(): void {
		this.#send.disabled = this.#prompt.value.trim() === '' || !this.#canSend;
		this.#events.draft(this.#prompt.value);
	}
}
