// Whether completions are on for a language, and what a toggle changes in the settings. This file does not use VS Code.
import type { EngineView } from '../../webview/messages';

/**
 * `hearth.completions.languages`: maps a language id to on or off. `*` stands for the languages that are not listed.
 */
type LanguageMap = Readonly<Record<string, boolean>>;

export function languageEnabled(languages: LanguageMap, languageId: string): boolean {
	return languages[languageId] ?? languages['*'] ?? true;
}

/** Returns the map with the language's own entry flipped. */
export function toggleLanguage(languages: LanguageMap, languageId: string): Record<string, boolean> {
	return { ...languages, [languageId]: !languageEnabled(languages, languageId) };
}

/**
 * Whether the engine answers requests for completions, perhaps after a moment. It loads an unloaded model again when it
 * is asked. While a model loads, any other loaded model completes, and a request that was possible before stays
 * possible.
 */
export function canAsk(state: EngineView['state'], before: boolean, status?: EngineView['status']): boolean {
	const loaded = status?.completionModel !== undefined || status?.model !== undefined;
	return state === 'ready' || state === 'busy' || state === 'unloaded' || (state === 'loading' && (before || loaded));
}
