// The filter `tojson` as transformers has it: Python's `json.dumps` with `ensure_ascii=False`. Nothing is escaped for
// HTML.
import { type Budget, TemplateError } from './budget';
import { floatText } from './numbers';
import { compare, Dict, itemsOf, toText, typeName, type Value } from './values';

export interface JsonOptions {
	/** The text that indents a line once for each level; undefined: all is in one line. */
	indent: string | undefined;
	separators: readonly [item: string, key: string] | undefined;
	sortKeys: boolean;
	asciiOnly: boolean;
}

/** @throws TemplateError where a value has no JSON, as an undefined value has none. */
export function toJson(value: Value, options: JsonOptions, budget: Budget): string {
	const [comma, colon] = options.separators ?? (options.indent === undefined ? [', ', ': '] : [',', ': ']);
	const write = (item: Value, depth: number): string => {
		budget.charge(10);
		if (item === null) return 'null';
		if (typeof item === 'boolean') return String(item);
		if (typeof item === 'string') return quote(item, options.asciiOnly, budget);
		if (typeof item === 'bigint') return toText(item, budget);
		if (typeof item === 'number') return floatJson(item);
		const items = itemsOf(item);
		if (items)
			return block(
				'[',
				']',
				items.map((inner) => budget.nested(() => write(inner, depth + 1))),
				depth,
			);
		if (item instanceof Dict) {
			const entries = [...item.entries()];
			if (options.sortKeys) entries.sort(([a], [b]) => compare(a, b, '<', budget));
			const members = entries.map(
				([key, inner]) => keyText(key) + colon + budget.nested(() => write(inner, depth + 1)),
			);
			return block('{', '}', members, depth);
		}
		throw new TemplateError(`Object of type ${typeName(item)} is not JSON serializable`);
	};
	const keyText = (key: Value): string => {
		if (typeof key === 'string') return quote(key, options.asciiOnly, budget);
		if (key === null || typeof key === 'boolean' || typeof key === 'bigint' || typeof key === 'number') {
			return `"${write(key, 0)}"`;
		}
		throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
	};
	const block = (open: string, close: string, members: string[], depth: number): string => {
		if (members.length === 0) return open + close;
		let length = members.length * comma.length;
		for (const member of members) length += member.length;
		if (options.indent === undefined) {
			budget.text(length);
			return open + members.join(comma) + close;
		}
		budget.text(length + (members.length + 1) * (1 + options.indent.length * (depth + 1)));
		const line = `\n${options.indent.repeat(depth + 1)}`;
		return `${open}${line}${members.join(comma + line)}\n${options.indent.repeat(depth)}${close}`;
	};
	return write(value, 0);
}

function floatJson(value: number): string {
	if (Number.isNaN(value)) return 'NaN';
	return Number.isFinite(value) ? floatText(value) : value > 0 ? 'Infinity' : '-Infinity';
}

const ESCAPES: Record<string, string> = {
	...{ '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\b': '\\b', '\f': '\\f' },
};

function quote(text: string, asciiOnly: boolean, budget: Budget): string {
	budget.text(2 * text.length);
	// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes exactly these characters
	const pattern = asciiOnly ? /[^\x20-\x7f]|["\\]/gu : /[\0-\x1f"\\]/g;
	const escaped = (char: string) => {
		const units = Array.from(char.split(''), (unit) => unit.charCodeAt(0).toString(16).padStart(4, '0'));
		return ESCAPES[char] ?? units.map((unit) => `\\u${unit}`).join('');
	};
	return `"${budget.change(text, escaped, pattern)}"`;
}
