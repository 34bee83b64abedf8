// Checks which folder of engine/ may import which. The lint refuses single imports (engine/floors.grit). This test
// looks at all imports together, so that a mistake in the lint's own rules shows, too.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');

/** What each file of a folder imports from the same folder, types included. Paths start at the repository's root. */
function importsWithin(folder: string): Map<string, string[]> {
	const names = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
		.map((name) => path.posix.join(folder, name.replaceAll('\\', '/')))
		.filter((name) => name.endsWith('.ts'));
	const files = new Set(names);
	return new Map(
		names.map((name) => {
			const text = readFileSync(path.join(root, name), 'utf8');
			const specifiers = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map(
				([, specifier]) => specifier!,
			);
			const targets = specifiers.map((specifier) => path.posix.join(path.posix.dirname(name), specifier));
			return [
				name,
				targets.flatMap((target) => [target, `${target}.ts`].filter((file) => files.has(file) && file !== name)),
			];
		}),
	);
}

/** Finds the first cycle of a graph. Returns the names along it, or undefined when there is none. */
function circleOf(graph: ReadonlyMap<string, Iterable<string>>): string[] | undefined {
	const done = new Set<string>();
	const way: string[] = [];
	const visit = (node: string): string[] | undefined => {
		if (way.includes(node)) return [...way.slice(way.indexOf(node)), node];
		if (done.has(node)) return undefined;
		way.push(node);
		for (const next of graph.get(node) ?? []) {
			const circle = visit(next);
			if (circle) return circle;
		}
		way.pop();
		done.add(node);
		return undefined;
	};
	for (const node of graph.keys()) {
		const circle = visit(node);
		if (circle) return circle;
	}
	return undefined;
}

/** Returns the same graph with each file replaced by its room: a folder of engine/, or a file beside those folders. */
function byRoom(files: ReadonlyMap<string, readonly string[]>): Map<string, Set<string>> {
	const roomOf = (file: string) => file.split('/').slice(0, 2).join('/');
	const rooms = new Map<string, Set<string>>();
	for (const [file, targets] of files) {
		const room = rooms.get(roomOf(file)) ?? new Set();
		for (const target of targets.map(roomOf)) if (target !== roomOf(file)) room.add(target);
		rooms.set(roomOf(file), room);
	}
	return rooms;
}

const engine = importsWithin('engine');

test('a circle is found, and only where there is one', () => {
	const line: [string, string[]][] = [
		['a', ['b', 'c']],
		['b', ['c']],
		['c', []],
	];
	expect(circleOf(new Map(line))).toBeUndefined();
	expect(circleOf(new Map([...line, ['c', ['a']]]))).toEqual(['a', 'b', 'c', 'a']);
});

test('no files of the engine import each other in a circle', () => {
	expect(engine.size).toBeGreaterThan(200);
	expect([...engine.values()].flat().length).toBeGreaterThan(600);
	expect(circleOf(engine)).toBeUndefined();
});

test('no folders of the engine import each other in a circle', () => {
	expect(circleOf(byRoom(engine))).toBeUndefined();
});

test('every folder of the engine has a rule, and stands in the rules of all that it may import', () => {
	const text = readFileSync(path.join(root, 'engine/floors.grit'), 'utf8').replace(/^\/\/.*$/gm, '');
	const rooms = [...byRoom(engine).keys()].map((room) => path.basename(room, '.ts'));
	expect(rooms.filter((room) => !new RegExp(`\\b${room}\\b`).test(text))).toEqual([]);
	/** What each folder may not import, by its name. */
	const rules = new Map(
		[...text.matchAll(/\$filename <: r"\.\*engine\/(\w+)\/\.\*",\s*\$source <: r"([^\n]*)"/g)].map(
			([, folder, forbidden]) => [folder!, forbidden!],
		),
	);
	const folders = readdirSync(path.join(root, 'engine'), { withFileTypes: true }).filter((entry) =>
		entry.isDirectory(),
	);
	const lacking = folders.flatMap(({ name }) =>
		// Of two folders, one at least may not import the other: else they could import each other in a circle.
		folders
			.filter((other) => other.name !== name)
			.filter((other) => {
				const forbids = (from: string, to: string) => new RegExp(`\\b${to}\\b`).test(rules.get(from) ?? '');
				return !forbids(name, other.name) && !forbids(other.name, name);
			})
			.map((other) => `${name} and ${other.name}`),
	);
	expect(lacking).toEqual([]);
});

test('only the server knows the wire', () => {
	const importers = [...engine].filter(([, targets]) => targets.includes('engine/protocol.ts')).map(([file]) => file);
	expect(importers.filter((file) => !file.startsWith('engine/server/'))).toEqual([]);
});

test('the step loop calls, and only the engine calls it', () => {
	const importers = [...engine].filter(([, targets]) => targets.includes('engine/runtime/step-loop.ts'));
	expect(importers.map(([file]) => file)).toEqual(['engine/runtime/engine.ts']);
});

test('the names of tokens of fill-in-the-middle stand in one list', () => {
	const naming = [...engine.keys()].filter((file) =>
		/<(?:\|)?fim[_-]/.test(readFileSync(path.join(root, file), 'utf8')),
	);
	expect(naming).toEqual(['engine/tokenizer/control-names.ts']);
});

test('the code map of docs/architecture.md names every folder of code', () => {
	const map = readFileSync(path.join(root, 'docs/architecture.md'), 'utf8');
	const folders = ['engine', 'native', 'extension'].flatMap((layer) =>
		readdirSync(path.join(root, layer), { withFileTypes: true })
			.filter((entry) => entry.isDirectory())
			.map(({ name }) => `${layer}/${name}`),
	);
	const named = (folder: string) =>
		map.includes(`\`${folder}/\``) || new RegExp(`${folder.split('/')[0]}/[^|]*\`${folder.split('/')[1]}/\``).test(map);
	expect(folders.length).toBeGreaterThan(25);
	expect(folders.filter((folder) => !named(folder))).toEqual([]);
});
