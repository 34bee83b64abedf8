// What a newly chosen model is to do when there is a model already. This file does not use VS Code.
import type { ModelRole } from '../../engine/protocol';

/** The paths of models in the user's settings, by the keys of the settings. */
export interface ModelPaths {
	modelPath: string;
	completionModelPath: string;
	draftModelPath: string;
}

export interface RoleChoice {
	label: string;
	detail: string;
	/** The role in which the file is loaded to check it. When absent, the file is checked when it is used. */
	role?: ModelRole;
	changes: Partial<ModelPaths>;
}

/** The roles that `file` can be chosen for. The first model takes all roles, so there is nothing to ask. */
export function roleChoices(file: string, current: ModelPaths, nameOf: (file: string) => string): RoleChoice[] {
	const both: RoleChoice = {
		label: 'Chat and completions',
		detail: 'one model in memory',
		role: 'chat',
		changes: { modelPath: file, completionModelPath: '' },
	};
	const { modelPath, completionModelPath } = current;
	if (modelPath === '') return [both];
	const completes = completionModelPath || modelPath;
	return [
		both,
		{
			label: 'Completions only',
			detail: `${nameOf(modelPath)} goes on chatting`,
			role: 'completion',
			changes: { completionModelPath: file === modelPath ? '' : file },
		},
		{
			label: 'Chat only',
			detail: `${nameOf(completes)} goes on completing`,
			role: 'chat',
			changes: { modelPath: file, completionModelPath: completes === file ? '' : completes },
		},
		{
			label: 'Guess ahead',
			detail: `a small model of the same vocabulary makes ${nameOf(modelPath)} faster, with the same answers`,
			changes: { draftModelPath: file },
		},
	];
}

/** The role that a file has in the settings. Loading the file again changes no setting. */
export function roleInSettings(file: string, { completionModelPath }: ModelPaths): RoleChoice {
	return { label: '', detail: '', role: file === completionModelPath ? 'completion' : 'chat', changes: {} };
}
