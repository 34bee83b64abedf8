// The editor's settings: those that only the extension knows, and with them all that package.json contributes.
// engine/settings.ts has the settings that the engine knows. This file does not use VS Code.
import { type AnySetting, choice, filePath, filePaths, flag, flags, integer } from '../engine/setting-kinds';
import { NAMED_SETTINGS } from '../engine/settings';
import type { ReasoningDisplay } from '../webview/messages';

/** The settings by their names below `hearth.`. */
export const EDITOR_SETTINGS = {
	modelFolders: filePaths({
		description:
			'Folders to look for models in, beside those of the Hugging Face and llama.cpp caches, LM Studio and Ollama.',
		summary: 'folders to look for models in, beside the known ones',
		scope: 'machine',
		order: 9,
	}),
	downloadFolder: filePath({
		default: '',
		description:
			"Where [Hearth: Download Model…](command:hearth.downloadModel) puts models. Empty: Hearth's folder in your user data, the same for all editors.",
		summary: "where downloads go; empty: Hearth's folder in your user data",
		scope: 'machine',
		order: 10,
	}),
	'completions.enabled': flag({
		default: true,
		description: 'Suggest code while you type. Also needs `#editor.inlineSuggest.enabled#`.',
		summary: 'suggest code while you type',
		order: 1,
	}),
	'completions.languages': flags({
		default: { '*': true },
		description:
			'Turns completions on or off by [language identifier](https://code.visualstudio.com/docs/languages/identifiers); `*` stands for all languages not listed. *Hearth: Toggle Completions for This Language* changes it for the active editor.',
		summary: 'on or off by language identifier; `*` is all others',
		order: 2,
	}),
	'completions.delay': integer({
		default: 0,
		range: [0, 5000],
		description:
			"Milliseconds to wait after a keystroke before the model is asked, beyond VS Code's own 50. A longer wait saves power. A suggestion asked for by command comes at once.",
		summary:
			"milliseconds to wait after a keystroke before the model is asked, beyond VS Code's own 50; a longer wait saves power",
		order: 3,
	}),
	'chat.reasoningDisplay': choice({
		default: 'collapsed',
		choices: ['collapsed', 'expanded', 'hidden'] satisfies ReasoningDisplay[],
		meanings: ['Folded away, one click to read it', 'Unfolded', 'Only how long it took'],
		description: "How the model's reasoning is shown.",
		summary: 'reasoning `collapsed`, `expanded` or `hidden`',
		order: 2,
	}),
	'benchmark.tests': choice({
		default: 'all',
		choices: ['all', 'quick'],
		meanings: [
			'Also time by prompt and batch size, decoding behind a long context, speculation on a recorded code edit, and the first token with a warm cache.',
			'Load, one forward pass, a prompt, decoding, and one batch.',
		],
		description: 'What *Run Benchmark* measures.',
		summary: '`all`, or `quick`: load, one forward pass, a prompt, decoding, one batch',
		order: 0,
	}),
	'benchmark.promptTokens': integer({
		default: 512,
		range: [1, 131_072],
		description: 'Prompt length of the prefill test, in tokens.',
		summary: 'prompt length of the prefill test',
		order: 1,
	}),
	'benchmark.generateTokens': integer({
		default: 128,
		range: [1, 8192],
		description: 'Tokens generated in the decode test.',
		summary: 'tokens generated in the decode test',
		order: 2,
	}),
	'benchmark.batchStreams': integer({
		default: 20,
		range: [1, 256],
		description: 'Concurrent streams of the batch test.',
		summary: 'concurrent streams of the batch test',
		order: 3,
	}),
	'benchmark.batchTokens': integer({
		default: 100,
		range: [1, 8192],
		description: 'Tokens each stream of the batch test generates.',
		summary: 'tokens each of those streams generates',
		order: 4,
	}),
	'benchmark.repetitions': integer({
		default: 3,
		range: [1, 100],
		description: 'How often each test runs; the report gives mean and standard deviation.',
		summary: 'how often each test runs',
		order: 5,
	}),
} as const;

export type EditorSettingName = keyof typeof EDITOR_SETTINGS;
export type EditorSetting<N extends EditorSettingName> = (typeof EDITOR_SETTINGS)[N]['default'];

/** Reads one setting by its name below `hearth.`. Returns undefined when the setting has no value. */
export type SettingReader = (name: string) => unknown;

export function editorSetting<N extends EditorSettingName>(read: SettingReader, name: N): EditorSetting<N> {
	return EDITOR_SETTINGS[name].nearest(read(name)) as EditorSetting<N>;
}

/** The name, below `hearth.`, that a setting of the engine has in the editor. */
export function editorName(name: string): string {
	return name.replace(/^completion\./, 'completions.');
}

/**
 * The sections of the settings editor in the order that users see. Each has its settings by their names below
 * `hearth.`.
 */
export function settingSections(): { title: string; settings: (readonly [name: string, setting: AnySetting])[] }[] {
	const all = [
		...NAMED_SETTINGS.map(([name, setting]) => [editorName(name), setting] as const),
		...Object.entries<AnySetting>(EDITOR_SETTINGS),
	].sort(([, a], [, b]) => a.order - b.order);
	const groups = { Model: undefined, Completions: 'completions', Chat: 'chat', Benchmark: 'benchmark' };
	return Object.entries(groups).map(([title, group]) => ({
		title,
		settings: all.filter(([name]) => (name.includes('.') ? name.split('.')[0] : undefined) === group),
	}));
}
