// Settings as a client sends them. A setting that is missing or wrong keeps the value that held before.
import { type EngineSettings, makeSettings } from '../settings';

export const DEFAULT_SETTINGS: EngineSettings = makeSettings((setting) => setting.default);

/** Reads settings over `base`. A value of the wrong type or out of range leaves the value of `base`. */
export function readSettings(given: unknown, base: EngineSettings): EngineSettings {
	return makeSettings((setting, name) => {
		const value = at(given, name);
		return (setting.problem(value, name) === undefined ? value : at(base, name)) as typeof setting.default;
	});
}

/** The value at a name such as `completion.maxTokens`. Undefined where there is none. */
function at(value: unknown, name: string): unknown {
	return name
		.split('.')
		.reduce<unknown>(
			(inner, key) =>
				typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[key] : undefined,
			value,
		);
}
