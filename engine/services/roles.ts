// Which model does what: one chats, and completes unless another one is chosen for that.
import { completionWindow } from '../models/memory-need';
import type { EngineSettings, ModelRole } from '../settings';

/** In the order they are loaded in: the model for completions is the smaller one, and is wanted first. */
export const ROLES = ['completion', 'chat'] as const satisfies readonly ModelRole[];

/** The settings that a role's model is loaded with; undefined: none is chosen for it, and the other one does its work. */
export function settingsOf(role: ModelRole, settings: EngineSettings): EngineSettings | undefined {
	const { modelPath, completionModelPath } = settings;
	const separate = completionModelPath !== '' && completionModelPath !== modelPath;
	if (role === 'chat') {
		return modelPath === '' ? undefined : { ...settings, completionModelPath: separate ? completionModelPath : '' };
	}
	if (!separate) return undefined;
	return {
		...settings,
		...{ modelPath: completionModelPath, completionModelPath: '', draftModelPath: '' },
		// Its cache has room for two such windows: in front of the cursor, and where the cursor was before.
		contextTokens: Math.min(settings.contextTokens, completionWindow(settings.completion)),
	};
}
