// Answers "Why no suggestion?": it finds the first link of the chain from editor to model that explains the silence.
// This file does not use VS Code.
import type { CompletionReport } from '../../engine/protocol';
import type { EngineView } from '../../webview/messages';

export interface CompletionFacts {
	/** Absent when no text editor is active. */
	document?: { languageId: string; scheme: string; schemeSupported: boolean };
	/** `editor.inlineSuggest.enabled` */
	inlineSuggestEnabled: boolean;
	enabled: boolean;
	languageEnabled: boolean;
	engine: EngineView;
	/** Whether a request of this window has not been answered yet. */
	pending: boolean;
	/** How the last request of this window failed, for failures that the engine does not know of. */
	lastError?: string;
}

export type ExplainAction =
	| 'toggle-completions'
	| 'toggle-language'
	| 'enable-inline-suggest'
	| 'select-model'
	| 'restart-engine'
	| 'show-log'
	| 'trigger';

interface Explanation {
	text: string;
	action?: ExplainAction;
}

export function explainCompletion(facts: CompletionFacts): Explanation {
	const { document, engine } = facts;
	if (!document) return { text: 'No text editor is active.' };
	if (!facts.inlineSuggestEnabled) {
		return {
			text: 'VS Code’s own setting editor.inlineSuggest.enabled is off, so no extension can show suggestions.',
			action: 'enable-inline-suggest',
		};
	}
	if (!document.schemeSupported) {
		return { text: `Hearth does not complete in this kind of editor (${document.scheme}:).` };
	}
	if (!facts.enabled) return { text: 'Completions are turned off.', action: 'toggle-completions' };
	if (!facts.languageEnabled) {
		return { text: `Completions are turned off for ${document.languageId}.`, action: 'toggle-language' };
	}
	switch (engine.state) {
		case 'off':
		case 'no-model':
			return { text: 'No model is chosen yet.', action: 'select-model' };
		case 'starting':
		case 'restarting':
			return { text: 'The engine is starting; suggestions come when it is ready.' };
		case 'loading':
			// The chat model may still load while another model completes.
			if (engine.status?.completionModel ?? engine.status?.model) break;
			return { text: 'The model is still loading; suggestions come when it is ready.' };
		case 'failed':
			return { text: `The engine is not running: ${engine.message ?? 'it stopped'}`, action: 'restart-engine' };
		case 'error':
			return { text: engine.message ?? 'The engine reported an error.', action: 'show-log' };
		case 'ready':
		case 'busy':
		case 'unloaded':
			break;
	}
	if (facts.pending) return { text: 'The model is still working on a suggestion.' };
	if (facts.lastError) return { text: `The last request failed: ${facts.lastError}`, action: 'show-log' };
	const last = engine.status?.lastCompletion;
	if (!last) return { text: 'No suggestion has been asked for yet. Type, or ask for one now.', action: 'trigger' };
	return { text: describeReport(last), action: 'trigger' };
}

function describeReport(report: CompletionReport): string {
	const cost = `${report.promptTokens} prompt tokens (${report.cachedTokens} cached), ${report.generatedTokens} generated, ${Math.round(report.milliseconds)} ms`;
	const reason = report.reason ? `: ${report.reason}` : '';
	switch (report.outcome) {
		case 'shown':
			return `The last suggestion was delivered to the editor (${cost}). VS Code hides one that does not match what is typed or selected in its suggestion list.`;
		case 'empty':
			return `The model had nothing to add${reason} (${cost}).`;
		case 'excluded':
			return `The model was not asked${reason}.`;
		case 'canceled':
			return `The last request was cancelled${reason || ' because typing went on'} (${cost}).`;
		case 'failed':
			return `The last request failed${reason} (${cost}).`;
	}
}
