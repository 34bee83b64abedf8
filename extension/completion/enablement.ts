// Whether completions are on for a language, and what a toggle changes in the settings. No VS Code in here.
import type { EngineView } from '../../webview/messages';

/** `hearth.completions.languages`: language ids to on or off; `*` for those not listed. */
type LanguageMap = Readonly<Record<string, boolean>>;

export function languageEnabled(languages: LanguageMap, languageId: string): boolean {
	return languages[languageId] ?? languages['*'] ?? true;
}

/** The map with the language's own entry flipped. */
export function toggleLanguage(languages: LanguageMap, languageId: string): Record<string, boolean> {
	return { ...languages, [languageId]: !languageEnabled(languages, languageId) };
}

/**
 * Whether the engine answers requests for completions, if only after a moment: it loads an idle model again when it is asked, and
 * while a model loads, what could be asked before it can still be asked, and any model that is there completes.
 */
export function canAsk(state: EngineView['state'], before: boolean, status?: EngineView['status']): boolean {
	const loaded = status?.completionModel !== undefined || status?.model !== undefined;
	return state === 'ready' || state === 'busy' || state === 'unloaded' || (state === 'loading' && (before || loaded));
}
