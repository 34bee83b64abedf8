// Gets Python's Jinja2, which the tests compare our interpreter of chat templates with. Pip fetches it once into the
// cache folder. This file also reads published chat templates from llama.cpp's source in node-llama-cpp; none of them
// is in the repository.
// usage: node scripts/jinja2.mjs   records anew what the tests in test/unit/jinja expect
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { ensureSystem, findPip } from './system.mjs';

const PACKAGES = ['jinja2==3.1.6', 'markupsafe==3.0.3'];
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const TESTS = path.join(root, 'test', 'unit', 'jinja');

/**
 * Resolves to a function that renders [template, variables] pairs; its result is null where a template raises an error.
 * When Jinja2 cannot be installed, it logs the reason in one line and resolves to undefined.
 */
export async function jinja2(log = console.error) {
	const folder = path.join(cacheFolder(), 'jinja2', PACKAGES.join('-').replaceAll('==', '-'));
	try {
		ensureSystem(['pip'], log);
		const [python, ...pip] = findPip();
		await installOnce(folder, (partial) => {
			log(`fetching Jinja2 from PyPI into ${folder} (once)`);
			execFileSync(python, [...pip, 'install', '--quiet', '--target', partial, ...PACKAGES], { stdio: 'pipe' });
		});
		return (cases) =>
			JSON.parse(
				execFileSync(python, [path.join(root, 'scripts', 'render_templates.py')], {
					input: JSON.stringify(cases),
					env: { ...process.env, PYTHONPATH: folder, PYTHONIOENCODING: 'utf-8' },
					maxBuffer: 2 ** 28,
				}),
			);
	} catch (error) {
		log(`Jinja2 cannot be had: ${error.message.split('\n')[0]}`);
		return undefined;
	}
}

/** Returns the published templates by file name. */
export function publishedTemplates() {
	const bundle = path.join(root, 'node_modules', 'node-llama-cpp', 'llama', 'gitRelease.bundle');
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-templates-'));
	const git = (...args) => execFileSync('git', ['--git-dir', folder, ...args], { maxBuffer: 2 ** 26 }).toString();
	try {
		git('init', '--quiet', '--bare');
		const commit = git('bundle', 'unbundle', bundle).split(/\s/)[0];
		const files = git('ls-tree', '-r', '--name-only', commit, 'models/templates').split('\n');
		return new Map(
			files
				.filter((file) => file.endsWith('.jinja'))
				.map((file) => [path.basename(file, '.jinja'), git('show', `${commit}:${file}`)]),
		);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

/** A hash of a text. A test compares it where the repository must not contain the text. */
export function digest(text) {
	return text === null ? null : createHash('sha256').update(text).digest('hex').slice(0, 16);
}

async function record() {
	const render = await jinja2();
	if (!render) return false;
	const read = (file) => JSON.parse(readFileSync(path.join(TESTS, file), 'utf8'));
	const write = (file, value) => writeFileSync(path.join(TESTS, file), JSON.stringify(value));

	const expressions = read('expressions.json').map(([source]) => source);
	const messages = [{ role: 'user', content: 'Hi' }];
	const expected = render(expressions.map((source) => [source, { messages }]));
	write(
		'expressions.json',
		expressions.map((source, i) => [source, expected[i]]),
	);

	const conversations = read('conversations.json');
	const names = Object.keys(conversations);
	const published = {};
	for (const [name, template] of publishedTemplates()) {
		const results = render(names.map((key) => [template, conversations[key]])).map(digest);
		published[name] = {
			template: digest(template),
			results: Object.fromEntries(names.map((key, i) => [key, results[i]])),
		};
	}
	write('published.json', published);
	const biome = path.join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
	execFileSync(process.execPath, [biome, 'format', '--write', TESTS], { stdio: 'inherit' });
	return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url) && !(await record())) process.exitCode = 1;
