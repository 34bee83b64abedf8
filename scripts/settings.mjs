// Writes all that is said of settings elsewhere from the tables in engine/settings.ts and extension/settings.ts: a part
// of package.json and the tables of README.md and docs/language-server.md. `--check` only names the files that are out
// of date and fails.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = path.join(import.meta.dirname, '..');

/** The files that depend on the tables. Each has a function from the file's text to what the text should be. */
export async function dependents() {
	// The platform `neutral` knows no module of Node.js or of VS Code: the tables must not need one.
	const { outputFiles } = await build({
		stdin: { contents: `export * from './engine/settings';\nexport * from './extension/settings';`, resolveDir: root },
		...{ bundle: true, write: false, format: 'esm', platform: 'neutral', logLevel: 'silent' },
	});
	const bundled = Buffer.from(outputFiles[0].contents).toString('base64');
	const { NAMED_SETTINGS, settingSections } = await import(`data:text/javascript;base64,${bundled}`);
	const sections = settingSections();
	return new Map([
		['package.json', (text) => inManifest(text, sections)],
		['README.md', (text) => betweenMarks(text, editorTable(sections))],
		['docs/language-server.md', (text) => betweenMarks(text, engineTable(NAMED_SETTINGS))],
	]);
}

function inManifest(text, sections) {
	const manifest = JSON.parse(text);
	manifest.contributes.configuration = sections.map(({ title, settings }, index) => ({
		...{ title, order: index + 1 },
		properties: Object.fromEntries(settings.map(([name, setting]) => [`hearth.${name}`, property(setting)])),
	}));
	manifest.capabilities.untrustedWorkspaces.restrictedConfigurations = sections
		.flatMap(({ settings }) => settings)
		.filter(([, { restricted }]) => restricted)
		.map(([name]) => `hearth.${name}`);
	return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function property({ json: { type, ...limits }, description, scope, order, advanced, ...setting }) {
	return {
		...{ type, default: setting.default, markdownDescription: description, ...limits },
		...(scope && { scope }),
		order,
		...(advanced && { tags: ['advanced'] }),
	};
}

function editorTable(sections) {
	const rows = sections
		.flatMap(({ settings }) => settings)
		.map(([name, setting]) => `| \`hearth.${name}\` | ${shownDefault(setting)} | ${setting.summary} |`);
	return ['| Setting | Default | |', '|---|---|---|', ...rows].join('\n');
}

function engineTable(settings) {
	const rows = settings.map(
		([name, setting]) => `| \`${name}\` | ${shownDefault(setting)} | ${setting.values} | ${setting.summary} |`,
	);
	return ['| setting | default | values | |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

function shownDefault(setting) {
	return `\`${JSON.stringify(setting.default)}\``;
}

/** Returns a document with the table between its two marks replaced. */
function betweenMarks(text, table) {
	const marks = ['<!-- settings: `npm run format` writes this table -->\n\n', '\n\n<!-- end of settings -->'];
	const [before, rest] = halves(text, marks[0]);
	const [, after] = halves(rest, marks[1]);
	return [before, marks[0], table, marks[1], after].join('');
}

function halves(text, mark) {
	const parts = text.split(mark);
	if (parts.length !== 2) throw new Error(`a document must hold this mark once: ${mark.trim()}`);
	return parts;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
	const check = process.argv.includes('--check');
	for (const [name, update] of await dependents()) {
		const file = path.join(root, name);
		const text = readFileSync(file, 'utf8');
		const updated = update(text);
		if (updated === text) continue;
		if (check) {
			console.error(`${name} does not say what the tables of settings say. \`npm run format\` writes it.`);
			process.exitCode = 1;
		} else writeFileSync(file, updated);
	}
}
