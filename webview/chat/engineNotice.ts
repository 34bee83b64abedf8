// What the chat says about an engine that cannot answer at once.
import type { EngineView, ErrorAction } from '../messages';

interface EngineNotice {
	/** Absent when there is nothing to say. */
	text?: string;
	actions: ErrorAction[];
	/** Whether the state will pass by itself. */
	busy: boolean;
}

export function engineNotice(view: EngineView): EngineNotice {
	switch (view.state) {
		case 'ready':
		case 'busy':
		case 'unloaded':
			return { actions: [], busy: false };
		case 'off':
		case 'no-model':
			return { text: 'No model is chosen.', actions: ['select-model'], busy: false };
		case 'starting':
			return { text: 'Starting the engine…', actions: [], busy: true };
		case 'restarting':
			return { text: 'The engine stopped and is being started again…', actions: ['show-log'], busy: true };
		case 'loading':
			// The completion model may still load while the chat model is there.
			if (view.status?.model && view.status.loading?.includes('chat') === false) return { actions: [], busy: false };
			return { text: 'Loading the model…', actions: [], busy: true };
		case 'failed':
			return {
				text: view.message ?? 'The engine is not running.',
				actions: ['restart-engine', 'show-log'],
				busy: false,
			};
		case 'error':
			return {
				text: view.message ?? 'The engine reported an error.',
				actions: ['select-model', 'show-log'],
				busy: false,
			};
	}
}
