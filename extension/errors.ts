// Turns the failure of a request to the engine into one sentence and the actions that help.
import { ErrorCode } from '../engine/protocol';
import type { ErrorAction, ShownError } from '../webview/messages';

/**
 * JSON-RPC's code for a request that was pending when the connection went away, and for a request without a connection.
 */
const PENDING_RESPONSE_REJECTED = -32097;
const CONNECTION_INACTIVE = -32096;

/** What to tell the user about a failed request. */
export function describeError(error: unknown): ShownError {
	const message = sentence(error instanceof Error ? error.message : String(error));
	const code =
		typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number'
			? error.code
			: undefined;
	const shown = (text: string, ...actions: ErrorAction[]): ShownError => ({ message: text, actions });
	switch (code) {
		case ErrorCode.noModel:
			return shown(message, 'select-model', 'retry');
		case ErrorCode.modelLoadFailed:
		case ErrorCode.notEnoughMemory:
			return shown(message, 'select-model', 'show-log');
		case ErrorCode.contextOverflow:
			return shown(message, 'new-chat', 'open-settings');
		case ErrorCode.overloaded:
		case ErrorCode.downloadFailed:
			return shown(message, 'retry');
		case PENDING_RESPONSE_REJECTED:
		case CONNECTION_INACTIVE:
			return shown('The engine stopped while it was answering. It is being started again.', 'retry', 'show-log');
		default:
			return shown(message, 'retry', 'show-log', 'restart-engine');
	}
}

/** Makes a sentence of an engine's message. The engine writes parts of sentences, as a command line prints them. */
function sentence(message: string): string {
	const text = message.trim();
	return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');
}
