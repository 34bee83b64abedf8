// Whether completions are on for a language, and what a toggle changes in the settings. No VS Code in here.

/** `hearth.completions.languages`: language ids to on or off; `*` for those not listed. */
export type LanguageMap = Readonly<Record<string, boolean>>;

export function languageEnabled(languages: LanguageMap, languageId: string): boolean {
	return languages[languageId] ?? languages['*'] ?? true;
}

/** The map with the language's own entry flipped. */
export function toggleLanguage(languages: LanguageMap, languageId: string): Record<string, boolean> {
	return { ...languages, [languageId]: !languageEnabled(languages, languageId) };
}
