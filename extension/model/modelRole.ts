// What a model is to do where there is one already. No VS Code in here.
import type { ModelRole } from '../../engine/protocol';

/** The paths of models in the user's settings, by their keys. */
export interface ModelPaths {
	modelPath: string;
	completionModelPath: string;
	draftModelPath: string;
}

export interface RoleChoice {
	label: string;
	detail: string;
	/** What is loaded to check the file; absent: it is checked when it is used. */
	role?: ModelRole;
	changes: Partial<ModelPaths>;
}

/** What `file` can be chosen for; a first model does all, which needs no question. */
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

/** What a file of the settings is there for: loading it again changes none of them. */
export function roleInSettings(file: string, { completionModelPath }: ModelPaths): RoleChoice {
	return { label: '', detail: '', role: file === completionModelPath ? 'completion' : 'chat', changes: {} };
}
