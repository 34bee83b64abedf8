// A recorded code edit: a file, the request, and the file as it was rewritten. The text is real, so prompt lookup can
// guess as much of it as in real use, whatever model verifies the guesses.

const BEFORE = `// Keeps the most recently used values of a slow lookup.

export interface CacheOptions {
	/** Entries kept at most. */
	limit: number;
	/** Milliseconds an entry stays valid. */
	lifetime: number;
}

interface Entry<Value> {
	value: Value;
	storedAt: number;
}

export class LookupCache<Value> {
	private readonly entries = new Map<string, Entry<Value>>();
	private hits = 0;
	private misses = 0;

	constructor(
		private readonly options: CacheOptions,
		private readonly now: () => number = Date.now,
	) {}

	get(key: string): Value | undefined {
		const entry = this.entries.get(key);
		if (entry === undefined) {
			this.misses += 1;
			return undefined;
		}
		if (this.now() - entry.storedAt > this.options.lifetime) {
			this.entries.delete(key);
			this.misses += 1;
			return undefined;
		}
		this.entries.delete(key);
		this.entries.set(key, entry);
		this.hits += 1;
		return entry.value;
	}

	set(key: string, value: Value): void {
		this.entries.delete(key);
		this.entries.set(key, { value, storedAt: this.now() });
		if (this.entries.size > this.options.limit) {
			const oldest = this.entries.keys().next().value;
			if (oldest !== undefined) this.entries.delete(oldest);
		}
	}

	hitRate(): number {
		const total = this.hits + this.misses;
		return total === 0 ? 0 : this.hits / total;
	}

	clear(): void {
		this.entries.clear();
		this.hits = 0;
		this.misses = 0;
	}
}
`;

/** The changes of the edit: old text and new text, in the order of the file. Each old text occurs in the file once. */
const CHANGES: readonly [string, string][] = [
	[
		'	/** Milliseconds an entry stays valid. */\n	lifetime: number;',
		'	/** Milliseconds an entry stays valid; absent: for ever. */\n	lifetime?: number;',
	],
	['		if (this.now() - entry.storedAt > this.options.lifetime) {', '		if (this.isExpired(entry)) {'],
	[
		'	hitRate(): number {',
		'	has(key: string): boolean {\n		const entry = this.entries.get(key);\n		return entry !== undefined && !this.isExpired(entry);\n	}\n\n	hitRate(): number {',
	],
	[
		'		this.hits = 0;\n		this.misses = 0;\n	}\n}',
		'		this.hits = 0;\n		this.misses = 0;\n	}\n\n	private isExpired(entry: Entry<Value>): boolean {\n		const { lifetime } = this.options;\n		return lifetime !== undefined && this.now() - entry.storedAt > lifetime;\n	}\n}',
	],
];

/** `prompt` is the file and the request; `answer` is the whole file, rewritten. */
export const EDIT_RECORDING = {
	prompt:
		`File lookup-cache.ts:\n\`\`\`ts\n${BEFORE}\`\`\`\n\n` +
		'Make the lifetime optional, add a method "has", and move the check of an entry\'s age into a method of its own. ' +
		'Give the whole file.\n\n```ts\n',
	answer: `${CHANGES.reduce((text, [old, changed]) => text.replace(old, () => changed), BEFORE)}\`\`\`\n`,
};
