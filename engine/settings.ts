// The settings of the engine: name, default, allowed values, and the words that users read. This table is their only
// source. The type of the settings comes from it, and so do the checks of the server, the extension and the command
// line. From it scripts/settings.mjs, which `npm run format` runs, writes package.json's settings and the tables of
// README.md and docs/language-server.md.
//
// In the editor a setting has the same name below `hearth.`. The one exception is the group `completion`, which is
// `completions` there. Settings that the engine does not know are in extension/settings.ts.
import type { BackendChoice, CacheType, KernelSet, RopeMode } from '../native/index';
import {
	type AnySetting,
	choice,
	filePath,
	flag,
	integer,
	number,
	numberOrNull,
	type Setting,
	text,
	texts,
	type Values,
} from './setting-kinds';

export const SETTINGS = {
	modelPath: filePath({
		default: '',
		description:
			'Path of the model that chats, and completes where no other one is chosen for that: a GGUF file. Best chosen by [Hearth: Select Model…](command:hearth.selectModel), which checks it. A leading `~` is your home folder.',
		summary: 'the GGUF file that chats, and completes where no other one is chosen for that',
		scope: 'machine',
		order: 1,
	}),
	completionModelPath: filePath({
		default: '',
		description:
			'Path of another model for completions, best a small code model with fill-in-the-middle. Empty: the one of `#hearth.modelPath#` completes too.',
		summary: 'another model for completions; empty: the same',
		scope: 'machine',
		order: 1,
	}),
	draftModelPath: filePath({
		default: '',
		description:
			'Path of a draft head (EAGLE-3) made for the model of `#hearth.modelPath#`, or of a smaller model of its vocabulary, that guesses ahead for it: faster, with the same answers. Empty: guesses come from the text alone.',
		summary: 'a smaller model of the same vocabulary, or a draft head, that guesses ahead; the same answers',
		scope: 'machine',
		order: 1,
	}),
	contextTokens: integer({
		default: 8192,
		range: [512, 131_072],
		// Models for tests have contexts shorter than 512. Some published models have contexts longer than 131,072, and the
		// lists of models say how much memory any context takes.
		accepts: [64, 2 ** 24],
		description:
			'How many tokens a conversation or a completion may span. Each token of context takes about 48 KB of memory with gpt-oss-20b.',
		summary: 'tokens a conversation or a completion may span',
		scope: 'machine',
		order: 2,
	}),
	threads: integer({
		default: 0,
		range: [0, 1024],
		description: 'Threads the engine computes with; `0`: one for each physical core.',
		summary: 'threads to compute with; 0: one for each physical core',
		scope: 'machine',
		order: 3,
	}),
	kernels: choice({
		default: 'auto',
		choices: ['auto', 'reference', 'portable', 'avx2', 'avx512', 'amx', 'neon'] satisfies KernelSet[],
		description:
			'Which compute kernels to use. `auto` takes the fastest this processor has; the others are for measuring and for finding faults.',
		summary: 'compute kernels; others than `auto` are for measuring and finding faults',
		scope: 'machine',
		order: 4,
		advanced: true,
	}),
	backend: choice({
		default: 'auto',
		choices: ['auto', 'metal', 'cpu'] satisfies BackendChoice[],
		meanings: [
			'The GPU of a Mac with Apple silicon, unless a self-test found it to compute wrongly; else the CPU',
			'The GPU by Metal, even where a self-test found it to compute wrongly',
			'The CPU',
		],
		description:
			"What computes. Where Metal is asked for and cannot be used, the CPU computes, and the status bar's tooltip says why. [Hearth: Self-Test](command:hearth.selfTest) checks both.",
		summary: 'what computes: `metal`, `cpu`, or the better of the two that works',
		scope: 'machine',
		order: 4,
	}),
	matrixUnits: flag({
		default: false,
		description:
			"With Metal, read prompts with the GPU's matrix units. Faster, but what is answered may then depend on how a prompt was cut into steps, e.g. on what was cached.",
		summary: "with Metal, read prompts with the GPU's matrix units: faster, but answers may depend on what was cached",
		scope: 'machine',
		order: 5,
		advanced: true,
	}),
	rope: choice({
		default: 'reference',
		choices: ['reference', 'llamacpp'] satisfies RopeMode[],
		description:
			"Rounding of the YaRN position encoding: as each model's publisher has it, or as llama.cpp does it for all (they differ for gpt-oss; only for comparing the two).",
		summary: "rounding of the position encoding: the model publisher's, or `llamacpp` to compare the two",
		scope: 'machine',
		order: 5,
		advanced: true,
	}),
	cacheType: choice({
		default: 'f16',
		// The core's third type, `f32`, is for the reference kernels alone, which choose it themselves.
		choices: ['f16', 'q8_0'] satisfies CacheType[],
		meanings: ['16-bit floats.', '8-bit blocks: about half the memory, a little less exact.'],
		description: 'How the KV cache keeps the keys and values of the context.',
		summary: 'how the KV cache keeps its numbers; `q8_0` takes half the memory and is a little less exact',
		scope: 'machine',
		order: 7,
		advanced: true,
	}),
	speculation: flag({
		default: true,
		description:
			'Guess the next tokens from the text and let the model verify several at once. Answers are the same either way, only faster.',
		summary: 'guess tokens ahead and verify several at once; faster, with the same answers',
		scope: 'machine',
		order: 6,
		advanced: true,
	}),
	repackWeights: flag({
		default: true,
		description:
			"While the engine is idle and memory allows, move the model's weights into a layout this processor reads faster. Answers are the same either way.",
		summary: 'move weights into a faster layout while idle, where memory allows; the same answers',
		scope: 'machine',
		order: 7,
		advanced: true,
	}),
	unloadAfterMinutes: number({
		default: 0,
		range: [0, 10_080],
		description:
			'Minutes without work after which the model gives its memory back; it is loaded again when it is next asked for. `0`: never.',
		summary: 'minutes without work after which the model gives its memory back until it is needed; 0: never',
		scope: 'machine',
		order: 8,
	}),
	completion: {
		multiline: choice({
			default: 'auto',
			choices: ['auto', 'always', 'never'],
			meanings: [
				'Several lines where a block begins, one line elsewhere',
				'Always allow several lines',
				'Only complete the current line',
			],
			description: 'Whether suggestions may span lines.',
			summary: '`auto`: several lines where a block begins; `always`; `never`',
			order: 4,
		}),
		maxTokens: integer({
			default: 96,
			range: [1, 1024],
			description: 'The longest suggestion, in tokens.',
			summary: 'longest suggestion, in tokens',
			order: 5,
		}),
		prefixTokens: integer({
			default: 1024,
			range: [16, 65_536],
			description:
				'How much of the file before the cursor the model sees, in tokens. More is slower where the file was not read before.',
			summary: 'tokens of the file before the cursor shown to the model',
			order: 6,
		}),
		suffixTokens: integer({
			default: 256,
			range: [0, 65_536],
			description: 'How much of the file after the cursor the model sees, in tokens.',
			summary: 'tokens of the file after the cursor shown to the model',
			order: 7,
		}),
		relatedTokens: integer({
			default: 512,
			range: [0, 65_536],
			description:
				'How much of other open files the model sees, in tokens; only models that were trained for it (such as Qwen2.5-Coder) are shown any.',
			summary: 'tokens of other open files shown to models that know repositories',
			order: 8,
		}),
		exclude: texts({
			default: [
				'.env*',
				'*.{key,pem,p8,p12,pfx,ppk,jks,keystore,kdbx}',
				'id_{rsa,dsa,ecdsa,ed25519}*',
				'*.{crt,cer,der,csr}',
				'*.{lock,lockb,lockfile}',
				'{package-lock,npm-shrinkwrap,packages.lock}.json',
				'*.lock.hcl',
				'pnpm-lock.yaml',
				'go.sum',
				'*.min.*',
			],
			limits: { items: 200, characters: 256 },
			description:
				'Files that get no suggestions, and whose text no suggestion elsewhere is made from. Globs: `*`, `?`, `[…]`, `{a,b}`, and `**` for any folders. A pattern without a slash names files and folders anywhere; one with a slash starts at the workspace folder. Upper and lower case are the same. A list of your own replaces this one.',
			summary: 'files that get no suggestions and whose text is used for none, as globs',
			order: 9,
			// A workspace could take the defaults away, and then its author decides what of the user's files a model sees.
			restricted: true,
		}),
		excludeGitIgnored: flag({
			default: false,
			description:
				'Exclude what git ignores, too: files that a `.gitignore` or `.git/info/exclude` names get no suggestions, and their text is used for none.',
			summary: 'exclude what git ignores, too',
			order: 10,
			restricted: true,
		}),
	},
	chat: {
		reasoningEffort: choice({
			default: 'medium',
			choices: ['low', 'medium', 'high'],
			description: 'How long the model may think before it answers.',
			summary: 'how long the model may think, where it has such levels: `low`, `medium`, `high`',
			order: 1,
		}),
		instructions: text({
			default: '',
			multiline: true,
			description:
				'Your own instructions, given to the model with every conversation: language, style, conventions of the project.',
			summary: 'your own instructions, given with every conversation',
			order: 3,
			restricted: true,
		}),
		maxTokens: integer({
			default: 4096,
			range: [1, 131_072],
			// An answer may be as long as the longest context.
			accepts: [1, 2 ** 24],
			description: 'The longest answer in tokens, reasoning included.',
			summary: 'longest answer in tokens, reasoning included',
			order: 4,
		}),
		temperature: numberOrNull({
			range: [0, 2],
			description:
				"Randomness of answers; `0` always takes the likeliest token. Empty: what the model's publishers recommend, which is `1` for gpt-oss.",
			summary: "randomness of answers; 0 always takes the likeliest token; `null`: as the model's publishers recommend",
			order: 5,
		}),
		topP: numberOrNull({
			range: [0, 1],
			description:
				"Sample from the likeliest tokens that together have this probability. Empty: what the model's publishers recommend, which is `1` (all) for gpt-oss.",
			summary: 'sample from the likeliest tokens that together have this probability; `null`: as recommended',
			order: 6,
		}),
	},
} as const;

/**
 * The values of all settings. Clients send them as `initializationOptions.settings`, and again as
 * `workspace/didChangeConfiguration` with `{ settings: { hearth } }`.
 */
export type EngineSettings = Values<typeof SETTINGS>;

export type ReasoningEffort = EngineSettings['chat']['reasoningEffort'];

/** The purpose that a model is chosen for. */
export type ModelRole = 'chat' | 'completion';

/** Every setting with its name, e.g. `completion.maxTokens`. */
export const NAMED_SETTINGS: readonly (readonly [name: string, setting: AnySetting])[] = Object.entries<
	AnySetting | Readonly<Record<string, AnySetting>>
>(SETTINGS).flatMap(([name, one]) =>
	isSetting(one)
		? [[name, one] as const]
		: Object.entries(one).map(([inner, each]) => [`${name}.${inner}`, each] as const),
);

/** Makes settings of the values that `read` gives for each of them. */
export function makeSettings(read: <T>(setting: Setting<T>, name: string) => T): EngineSettings {
	const made: Record<string, unknown> = {};
	for (const [name, setting] of NAMED_SETTINGS) {
		const [first, second] = name.split('.') as [string, string?];
		const value = read(setting, name);
		made[first] = second === undefined ? value : { ...(made[first] as object | undefined), [second]: value };
	}
	return made as EngineSettings;
}

function isSetting(one: AnySetting | Readonly<Record<string, AnySetting>>): one is AnySetting {
	return typeof one['nearest'] === 'function';
}
