// Reads the settings of the editor from VS Code.
import * as vscode from 'vscode';
import { type EditorSetting, type EditorSettingName, editorSetting } from './settings';

/**
 * Reads the value of a setting as the user has it.
 * @param scope - a document whose language or folder may have its own value
 */
export function setting<N extends EditorSettingName>(name: N, scope?: vscode.ConfigurationScope): EditorSetting<N> {
	const configuration = vscode.workspace.getConfiguration('hearth', scope);
	return editorSetting((key) => configuration.get(key), name);
}
