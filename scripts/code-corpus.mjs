// Foreign code to measure completions on: pinned packages of npm, PyPI, crates.io, Go and Maven, fetched once into the cache folder
// by the user's own clients, and so through the registries that these are set up for. Nothing of it is run or built.
// usage: node scripts/code-corpus.mjs   fetches what is missing and prints the folders
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder, installOnce } from './cache.mjs';
import { findPip, which } from './system.mjs';

/** What fetches a package of each registry into an empty folder; it resolves to the folder of its code within that one. */
const REGISTRIES = { npm: fromNpm, PyPI: fromPyPI, 'crates.io': fromCrates, Go: fromGo, Maven: fromMaven };

/**
 * [registry, package, version, checksum, what it brings]. The checksum is the SHA-256 of the archive; of a Go module it is the
 * module's sum, which `go mod download -json` prints.
 */
const PACKAGES = [
	['npm', 'zod', '4.6.7', '84efd155bed93270286e793fc951be270b536cbd5b0eeb111f0fa3967201d698', 'TypeScript'],
	['npm', 'rxjs', '7.8.2', '2312f8ffd9726ffd7bd53ea12c5f13663d09a3dc3326f448c70b88f5ef6fac82', 'TypeScript'],
	['npm', 'preact', '11.2.0', '3c4456766bd32b6b534d52bf4e9c2a29b33e7eedf6e96ed479300ba1a7888ebf', 'JavaScript'],
	[
		...['npm', '@tanstack/react-query', '5.108.4'],
		...['73928ec1c55576aa838adaca5f055d3c3ea03bfd86af48e4ce934697b3a8de83', 'TSX'],
	],
	['npm', 'bootstrap', '5.3.9', '06bdf78289c3c12ea99d40df84eedf6278c724c73eebf38f11f3a65b44ec8c94', 'SCSS, CSS'],
	['npm', 'html5-boilerplate', '9.0.1', '19baebf4f0d07007453a12cdd4a34a71af53311953ce05a608843c4c2d02c70d', 'HTML'],
	[
		'npm',
		'expo-modules-autolinking',
		'58.1.0',
		'8bcdf86797ab4748215a47e14cad4f24b88e5bb671aa9034c2f85ba31e23ef52',
		'Ruby',
	],
	['npm', 'bats', '1.13.0', 'b7ae290dbc7e44709d5e3430698f3048a978bef871c6063f5fca49a20e5aaf58', 'shell'],
	['npm', 'nan', '2.30.0', 'b716fb20d159610bbf0c157cd6d643f8b7eb4c737f05ab92be5f246f91b49a69', 'C++'],
	['PyPI', 'django', '5.2.19', '5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00', 'Python, HTML, CSS'],
	['PyPI', 'flask', '3.1.3', 'f4bcbefc124291925f1a26446da31a5178f9483862233b23c0c96a20701f670c', 'Python'],
	['PyPI', 'rich', '15.0.0', '33bd4ef74232fb73fe9279a257718407f169c09b78a87ad3d296f548e27de0bb', 'Python'],
	['PyPI', 'pybind11', '3.1.0', 'b8488090f8acffbcb6b5d6a85571a6827a0a2981ffb75e5a0b27b87c4a6b7dd0', 'C++'],
	['crates.io', 'serde_json', '1.0.145', '402a6f66d8c709116cf22f558eab210f5a50187f702eb4d7e5ef38d9a7f1c79c', 'Rust'],
	['crates.io', 'regex-automata', '0.4.13', '5276caf25ac86c8d810222b3dbb938e512c55c6831a10f3e6ed1c93b84041f1c', 'Rust'],
	['crates.io', 'clap_builder', '4.5.50', '0a4c05b9e80c5ccd3a7ef080ad7b6ba7d6fc00a985b8b157197075677c82c7a0', 'Rust'],
	['Go', 'github.com/spf13/cobra', 'v1.10.2', 'h1:DMTTonx5m65Ic0GOoRY2c16WCbHxOOw6xxezuLaBpcU=', 'Go'],
	['Go', 'github.com/gin-gonic/gin', 'v1.12.0', 'h1:b3YAbrZtnf8N//yjKeU2+MQsh2mY5htkZidOM7O0wG8=', 'Go'],
	['Go', 'github.com/go-task/task/v3', 'v3.54.0', 'h1:xDgD9BNHIDnHhemB3gumYb+ozUoa6oCFMIz44GGosj8=', 'Go, YAML'],
	[
		...['Maven', 'com.google.code.gson:gson', '2.11.0'],
		...['49a853f71bc874ee1898a4ad5009b57d0c536e5a998b3890253ffbf4b7276ad3', 'Java'],
	],
	[
		...['Maven', 'org.apache.commons:commons-lang3', '3.17.0'],
		...['5fdcac21ad329766054a95367d7583dfcdca737d221d5e01a5f2a198c04c6b18', 'Java'],
	],
	[
		...['Maven', 'org.springframework.batch:spring-batch-core', '5.2.0'],
		...['4da80b78650250a8752da2be0f0cda8c43d88a424db379887dfae9052010e078', 'Java, SQL'],
	],
];

/**
 * Resolves to `{ name, folder }` of each package that is there or could be fetched, in a fixed order. `log` is told which is
 * fetched, and why one cannot be had.
 * @param packages for tests.
 */
export async function codeCorpus(log = console.error, packages = PACKAGES) {
	const sources = [];
	for (const [registry, name, version, checksum, brings] of packages) {
		const folder = path.join(cacheFolder(), 'code', registry, `${name.replace(/[^\w.-]+/g, '-')}-${version}`);
		try {
			await installOnce(folder, async (partial) => {
				log(`fetching ${name} ${version} from ${registry} (once; ${brings})`);
				const work = path.join(partial, 'fetched');
				mkdirSync(work);
				const { code, is } = await REGISTRIES[registry](work, name, version);
				if (is !== checksum) throw new Error('what came has the wrong checksum');
				renameSync(code, path.join(partial, 'code'));
				rmSync(work, { recursive: true, force: true });
			});
			sources.push({ name: `${name} ${version}`, folder: path.join(folder, 'code') });
		} catch (error) {
			log(`${name} ${version} of ${registry} cannot be had and is left out: ${error.message}`);
		}
	}
	return sources;
}

async function fromNpm(work, name, version) {
	const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
	await run(npm, ['pack', `${name}@${version}`, '--silent', '--pack-destination', work], work);
	const archive = onlyFile(work, '.tgz');
	const is = sha256(archive);
	await run('tar', ['-xzf', archive, '-C', work], work);
	return { code: path.join(work, 'package'), is };
}

async function fromPyPI(work, name, version) {
	const pip = findPip();
	if (!pip) throw new Error('there is no Python with pip');
	const [python, ...args] = pip;
	const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:', '--dest', work];
	await run(python, [...args, 'download', ...options, `${name}==${version}`], work);
	return unpacked(onlyFile(work, '.whl'), python);
}

/** cargo has no command that fetches one crate: a package that needs nothing but it is made, and its dependencies are fetched. */
async function fromCrates(work, name, version) {
	if (!which('cargo')) throw new Error('there is no cargo');
	mkdirSync(path.join(work, 'src'));
	writeFileSync(path.join(work, 'src', 'lib.rs'), '');
	const dependency = `${name} = { version = "=${version}", default-features = false }`;
	const manifest = `[package]\nname = "corpus"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n${dependency}\n[workspace]\n`;
	writeFileSync(path.join(work, 'Cargo.toml'), manifest);
	await run('cargo', ['vendor', '--quiet', '--versioned-dirs', 'vendor'], work);
	const code = path.join(work, 'vendor', `${name}-${version}`);
	return { code, is: JSON.parse(readFileSync(path.join(code, '.cargo-checksum.json'), 'utf8')).package };
}

async function fromGo(work, name, version) {
	if (!which('go')) throw new Error('there is no go');
	const env = {
		GOMODCACHE: path.join(work, 'modules'),
		GOFLAGS: `${process.env.GOFLAGS ?? ''} -modcacherw`,
		GOTOOLCHAIN: 'local',
		GO111MODULE: 'on',
	};
	const { Dir, Sum } = JSON.parse(await run('go', ['mod', 'download', '-json', `${name}@${version}`], work, env));
	return { code: Dir, is: Sum };
}

async function fromMaven(work, name, version) {
	if (!which('mvn')) throw new Error('there is no mvn');
	const pip = findPip();
	if (!pip) throw new Error('there is no Python, which unpacks it');
	const artifact = `-Dartifact=${name}:${version}:jar:sources`;
	await run('mvn', ['-q', '-B', 'dependency:copy', artifact, `-DoutputDirectory=${work}`], work);
	return unpacked(onlyFile(work, '.jar'), pip[0]);
}

async function unpacked(archive, python) {
	const code = path.join(path.dirname(archive), 'unpacked');
	await run(python, ['-m', 'zipfile', '-e', archive, code], path.dirname(archive));
	return { code, is: sha256(archive) };
}

function onlyFile(folder, extension) {
	const name = readdirSync(folder).find((file) => file.endsWith(extension));
	if (!name) throw new Error(`no ${extension} file came`);
	return path.join(folder, name);
}

function sha256(file) {
	return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** Resolves to what a program prints; one that fails throws with the last line of what it said. */
async function run(command, args, folder, env = {}) {
	const child = spawn(command, args, {
		...{ cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
		shell: command.endsWith('.cmd'),
	});
	const said = { stdout: '', stderr: '' };
	for (const stream of ['stdout', 'stderr']) {
		child[stream].on('data', (data) => {
			said[stream] += data;
		});
	}
	const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
	if (code !== 0) throw new Error(`${command} failed: ${`${said.stdout}${said.stderr}`.trim().split('\n').at(-1)}`);
	return said.stdout;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	for (const { folder } of await codeCorpus()) console.log(folder);
}
