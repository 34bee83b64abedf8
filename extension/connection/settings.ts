// Maps the editor's `hearth.*` settings to the settings that the engine is sent.
import type { NetworkSettings } from '../../engine/protocol';
import { type EngineSettings, makeSettings } from '../../engine/settings';
import { editorName, editorSetting, type SettingReader } from '../settings';

/**
 * The engine's settings as the user has them. Users edit settings files by hand, so a value may have the wrong type or
 * be out of range; the nearest allowed value then replaces it.
 * @param homeDirectory - replaces a leading `~` of a path
 */
export function engineSettings(read: SettingReader, homeDirectory: string): EngineSettings {
	return makeSettings((setting, name) => {
		const value = setting.nearest(read(editorName(name)));
		return setting.isPath && typeof value === 'string' ? (expandHome(value, homeDirectory) as typeof value) : value;
	});
}

/** The folders to look for models in, and the folder for downloads. What is absent takes the engine's default. */
export function modelFolders(
	read: SettingReader,
	homeDirectory: string,
): { folders: string[]; downloadFolder?: string } {
	const downloadFolder = expandHome(editorSetting(read, 'downloadFolder'), homeDirectory);
	return {
		folders: editorSetting(read, 'modelFolders').map((folder) => expandHome(folder, homeDirectory)),
		...(downloadFolder !== '' && { downloadFolder }),
	};
}

/**
 * VS Code's own `http.*` settings as a download follows them. As in VS Code, the proxy of the environment holds when no
 * proxy is set there.
 */
export function networkSettings(read: SettingReader): NetworkSettings {
	const off = read('proxySupport') === 'off';
	const proxy = text(read('proxy'));
	const authorization = text(read('proxyAuthorization'));
	const exceptions = read('noProxy');
	const noProxy = (Array.isArray(exceptions) ? exceptions : []).map(text).filter(Boolean);
	return {
		...((off || proxy !== '') && { proxy: off ? '' : proxy }),
		...(authorization !== '' && { proxyAuthorization: authorization }),
		...(noProxy.length > 0 && { noProxy }),
		...(read('proxyStrictSSL') === false && { strictTls: false }),
	};
}

function text(value: unknown): string {
	return typeof value === 'string' ? value.trim() : '';
}

function expandHome(file: string, homeDirectory: string): string {
	return file === '~' || file.startsWith('~/') || file.startsWith('~\\') ? homeDirectory + file.slice(1) : file;
}
