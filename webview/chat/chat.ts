// The chat page.
//
// What tests and styles may rely on:
//   #app            data-engine = EngineView.state, data-generating = true|false
//   #messages       role=log, aria-busy while an answer streams
//   .message.user, .message.assistant   data-id; data-last on the last of each kind
//   .message.assistant   data-state = streaming|done|stopped|length|error
//     .waiting      until the first token     .reasoning (details; data-thinking while it thinks)  > summary .label
//     .preamble     said before it            .error, .outcome .text-button[data-action]
//     .body         the answer
//     .stats        figures                   .copy-answer  .regenerate
//     .code-block   .copy-code  .insert-code
//   .message.user .edit
//   #empty  #select-model                     what is shown before the first message
//   #engine-notice                            what is wrong with the engine, with its buttons ([data-action])
//   #composer  #prompt  #send  #stop  #attach  #attach-suggestion  #attachments .chip  #effort  #context-meter
//   #editing  #cancel-edit  #to-end  #announcer
import type {
	AssistantEntry,
	ChatEntry,
	ChatSnapshot,
	ChatToHost,
	EngineView,
	HostToChat,
	ReasoningDisplay,
} from '../messages';
import { confirmOn, element, icon, iconButton, textButton } from '../shared/dom';
import { connectHost } from '../shared/host';
import './chat.css';
import { Composer } from './composer';
import { engineNotice } from './engineNotice';
import {
	ACTION_LABELS,
	AssistantMessageView,
	createMessageView,
	type MessageEvents,
	type UserMessageView,
} from './messageView';

/** The view follows a growing answer as long as no more than this much of it is below the visible part. */
const FOLLOW_PIXELS = 48;

const host = connectHost<ChatToHost, HostToChat, { draft: string }>();

const messages = element('section', {
	id: 'messages',
	role: 'log',
	'aria-live': 'polite',
	'aria-label': 'Conversation',
	tabindex: 0,
});
const empty = element('section', { id: 'empty', class: 'empty', hidden: true });
const notice = element('div', { id: 'engine-notice', class: 'notice', role: 'status', hidden: true });
const announcer = element('div', { id: 'announcer', class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
const toEnd = iconButton('arrow-down', 'Scroll to the end', () => scrollToEnd(), { id: 'to-end', hidden: true });
const composer = new Composer(
	{
		send: (text, replaces) => host.post({ type: 'send', text, ...(replaces !== undefined && { replaces }) }),
		stop: () => host.post({ type: 'stop' }),
		attach: (what) => host.post({ type: 'attach', what }),
		detach: (id) => host.post({ type: 'detach', id }),
		effort: (effort) => host.post({ type: 'reasoning-effort', effort }),
		draft: (draft) => host.keep({ draft }),
	},
	host.state?.draft ?? '',
);
const app = element(
	'main',
	{ id: 'app' },
	element('div', { class: 'conversation' }, messages, empty, toEnd),
	notice,
	composer.root,
	announcer,
);

const views = new Map<string, UserMessageView | AssistantMessageView>();
let entries: ChatEntry[] = [];
let display: ReasoningDisplay = 'collapsed';
let engine: EngineView = { state: 'off' };
let following = true;
let copying: HTMLButtonElement | undefined;

const events: MessageEvents = {
	copy: (text, button) => {
		copying = button;
		host.post({ type: 'copy', text });
	},
	insert: (text) => host.post({ type: 'insert', text }),
	edit: (entry) => composer.edit(entry),
	regenerate: () => host.post({ type: 'regenerate' }),
	action: (action) => host.post({ type: 'action', action }),
	grown: () => {
		if (following) scrollToEnd();
	},
};

function receive(message: HostToChat): void {
	switch (message.type) {
		case 'snapshot':
			showSnapshot(message.snapshot);
			return;
		case 'entry':
			showEntry(message.entry);
			return;
		case 'delta': {
			const view = views.get(message.id);
			if (!(view instanceof AssistantMessageView)) return;
			announce(message.content === '' && !message.preamble ? 'Thinking' : 'Answering');
			view.append(message);
			return;
		}
		case 'engine':
			showEngine(message.engine);
			return;
		case 'attachments':
			composer.setAttachments(message.attachments, message.suggestion);
			return;
		case 'settings':
			showSettings(message);
			return;
		case 'focus':
			composer.focus();
			return;
		case 'copied':
			if (copying && message.ok) confirmOn(copying);
			copying = undefined;
			return;
	}
}

function showSnapshot(snapshot: ChatSnapshot): void {
	for (const view of views.values()) view.dispose();
	views.clear();
	messages.replaceChildren();
	entries = [...snapshot.entries];
	display = snapshot.reasoningDisplay;
	for (const entry of entries) addView(entry);
	composer.setAttachments(snapshot.attachments, snapshot.suggestion);
	showSettings(snapshot);
	showEngine(snapshot.engine);
	showConversation();
	following = true;
	scrollToEnd();
}

function showEntry(entry: ChatEntry): void {
	const index = entries.findIndex(({ id }) => id === entry.id);
	if (index < 0) entries.push(entry);
	else entries[index] = entry;
	const view = views.get(entry.id);
	if (view instanceof AssistantMessageView && entry.role === 'assistant') {
		view.update(entry);
		announce(outcomeOf(entry));
	} else if (!view) {
		addView(entry);
	}
	showConversation();
	events.grown();
}

function outcomeOf({ error, notice, state }: AssistantEntry): string {
	if (error) return `Failed: ${error.message}`;
	return notice?.message ?? (state === 'stopped' ? 'Stopped' : 'Answer complete');
}

function addView(entry: ChatEntry): void {
	const view = createMessageView(entry, display, events);
	views.set(entry.id, view);
	messages.append(view.root);
}

/** Shows what depends on the conversation as a whole. */
function showConversation(): void {
	const generating = entries.some((entry) => entry.role === 'assistant' && entry.state === 'streaming');
	app.setAttribute('data-generating', String(generating));
	messages.setAttribute('aria-busy', String(generating));
	messages.hidden = entries.length === 0;
	composer.setGenerating(generating);
	for (const role of ['user', 'assistant'] as const) {
		const last = entries.findLast((entry) => entry.role === role)?.id;
		for (const entry of entries) if (entry.role === role) views.get(entry.id)?.setLast(entry.id === last);
	}
	const stats = entries.findLast((entry) => entry.role === 'assistant' && entry.stats);
	if (stats?.role === 'assistant' && stats.stats) {
		composer.setContext(stats.stats.promptTokens + stats.stats.generatedTokens, stats.stats.contextTokens);
	} else {
		composer.setContext(undefined, 0);
	}
	showEmpty();
}

function showSettings(settings: Pick<ChatSnapshot, 'reasoningEffort' | 'reasoningDisplay'>): void {
	composer.setEffort(settings.reasoningEffort);
	if (display === settings.reasoningDisplay) return;
	display = settings.reasoningDisplay;
	for (const view of views.values()) if (view instanceof AssistantMessageView) view.setDisplay(display);
}

function showEngine(view: EngineView): void {
	engine = view;
	app.setAttribute('data-engine', view.state);
	const { text, actions, busy } = engineNotice(view);
	// Before the first message the empty page itself says that a model is missing.
	const said = entries.length === 0 && (view.state === 'off' || view.state === 'no-model');
	notice.hidden = text === undefined || said;
	notice.toggleAttribute('data-busy', busy);
	notice.replaceChildren();
	if (text !== undefined) {
		notice.append(
			element('p', {}, icon(busy ? 'loading codicon-modifier-spin' : 'warning'), text),
			...actions.map((action) =>
				textButton(ACTION_LABELS[action], () => events.action(action), { 'data-action': action }),
			),
		);
	}
	const model = view.status?.model ?? view.status?.completionModel;
	if (model) composer.setTakesEffort(model.takesReasoningEffort === true);
	composer.setCanSend(view.state !== 'off' && view.state !== 'no-model');
	showEmpty();
}

function showEmpty(): void {
	empty.hidden = entries.length > 0;
	if (empty.hidden) return;
	const missing = engine.state === 'off' || engine.state === 'no-model';
	const key = missing ? 'missing' : 'ready';
	if (empty.getAttribute('data-shown') === key) return;
	empty.setAttribute('data-shown', key);
	if (missing) {
		empty.replaceChildren(
			icon('flame'),
			element('h2', {}, 'Choose a model to begin'),
			element('p', {}, 'Hearth runs gpt-oss from a GGUF file on this machine. Nothing you write leaves it.'),
			textButton('Select Model…', () => events.action('select-model'), {
				id: 'select-model',
				class: 'text-button primary',
			}),
		);
	} else {
		empty.replaceChildren(
			icon('flame'),
			element('h2', {}, 'Ask about your code'),
			element('p', {}, 'The model runs on this machine. Attach a file or a selection, and it reads that too.'),
		);
	}
}

function scrollToEnd(): void {
	messages.scrollTop = messages.scrollHeight;
}

function announce(text: string): void {
	if (announcer.textContent !== text) announcer.textContent = text;
}

messages.addEventListener('scroll', () => {
	following = messages.scrollHeight - messages.scrollTop - messages.clientHeight < FOLLOW_PIXELS;
	toEnd.hidden = following;
});
messages.addEventListener('click', (event) => {
	const link = event.target instanceof Element ? event.target.closest('a') : null;
	if (!link) return;
	event.preventDefault();
	// Otherwise VS Code would open the link as well, and would take `src/a.ts` for a page beside this one.
	event.stopPropagation();
	const href = link.getAttribute('href');
	if (href !== null) host.post({ type: 'open-link', href });
});
window.addEventListener('keydown', (event) => {
	if (event.key === 'Escape' && !event.isComposing) composer.escape();
});

document.body.append(app);
host.onMessage(receive);
host.post({ type: 'ready' });
