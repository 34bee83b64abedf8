// The model of each role. One model chats. That model also completes, unless another one is chosen for completions.
import { completionWindow } from '../models/memory-need';
import type { EngineSettings, ModelRole } from '../settings';

/**
 * The roles in the order in which their models are loaded. The model for completions comes first: it is smaller and it
 * is wanted first.
 */
export const ROLES = ['completion', 'chat'] as const satisfies readonly ModelRole[];

/**
 * The settings that a role's model is loaded with. Undefined where no model is chosen for the role; the other role's
 * model then does its work.
 */
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
		// The cache then has room for two such windows: the one in front of the cursor, and the one where the cursor was
		// before.
		contextTokens: Math.min(settings.contextTokens, completionWindow(settings.completion)),
	};
}
