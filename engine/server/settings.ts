// Settings as a client sends them: anything may be missing or wrong, and then what held before holds.
import { type EngineSettings, makeSettings } from '../settings';

export const DEFAULT_SETTINGS: EngineSettings = makeSettings((setting) => setting.default);

/** Reads settings over `base`. Values of the wrong type or out of range leave the base's. */
export function readSettings(given: unknown, base: EngineSettings): EngineSettings {
	return makeSettings((setting, name) => {
		const value = at(given, name);
		return (setting.problem(value, name) === undefined ? value : at(base, name)) as typeof setting.default;
	});
}

/** The value at a name such as `completion.maxTokens`; undefined where there is none. */
function at(value: unknown, name: string): unknown {
	return name
		.split('.')
		.reduce<unknown>(
			(inner, key) =>
				typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[key] : undefined,
			value,
		);
}
