// Checks whether the text of a .metal file is valid MSL. No Metal compiler exists outside of Apple's systems. So clang
// compiles the text as C++ for OpenCL, which has the address spaces of MSL. Rules over clang's syntax tree then find
// what that language allows and MSL does not.
// usage: node check.mjs [file.metal…]   Without files it checks all of native/metal. Exit code 1 if any is invalid.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expandMetalSource, metalSources } from '../../../metal-sources.mjs';
import { generate } from './generate.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const SHIM = /(^|\/)msl\/|^<|^\(registration\)$/;

/**
 * @param {string} text of a .metal file, its includes expanded
 * @param {string} file its name
 * @returns {Promise<string[]>} what is wrong, a line each with its position; empty if nothing is
 */
export async function checkMetal(text, file, compiler = 'clang++-19') {
	let unit;
	try {
		unit = generate(text, file, { check: true, compiler });
	} catch (error) {
		return error.message.split('\n').filter((line) => line.includes('error:'));
	}
	const { code, stdout, stderr } = await parse(unit, compiler);
	if (code !== 0) return errorsOf(stderr);
	return [...lint(JSON.parse(stdout)), ...(await newerLanguage(text, file, compiler))];
}

/** Finds what C++14, on which MSL 3 is based, does not have, and faults that clang only warns about. */
async function newerLanguage(text, file, compiler) {
	const { stderr } = await clang(compiler, generate(text, file, { compiler }), [
		...['-x', 'c++', '-std=c++14', '-fsyntax-only', '-isystem', here, '-Wno-everything'],
		...['c++17-extensions', 'c++20-extensions', 'c99-extensions', 'return-type', 'uninitialized'].map(
			(warning) => `-Werror=${warning}`,
		),
		...['-Xclang', '-cl-single-precision-constant', '-'],
	]);
	return errorsOf(stderr);
}

function parse(unit, compiler) {
	return clang(compiler, unit, [
		...['-x', 'cl', '-cl-std=clc++2021', '-target', 'spir64-unknown-unknown', '-cl-no-stdinc'],
		...['-cl-single-precision-constant', '-fsyntax-only', '-w', '-ferror-limit=50', '-Xclang', '-ast-dump=json'],
		...[`-I${here}`, '-'],
	]);
}

function clang(compiler, input, args) {
	const child = spawn(compiler, args);
	const stdout = [];
	const stderr = [];
	child.stdout.on('data', (data) => stdout.push(data));
	child.stderr.on('data', (data) => stderr.push(data));
	child.stdin.end(input);
	return new Promise((resolve, reject) => {
		child.once('error', reject);
		child.once('close', (code) =>
			resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }),
		);
	});
}

/** The errors of clang, one for each line. An error inside the shim gets the position in the kernel that led there. */
function errorsOf(stderr) {
	const lines = stderr.split('\n');
	return lines.flatMap((line, i) => {
		if (!line.includes('error:')) return [];
		if (!/\/msl\//.test(line)) return [line];
		const next = lines.slice(i + 1).findIndex((other) => other.includes('error:'));
		const notes = lines.slice(i + 1, next < 0 ? undefined : i + 1 + next);
		const caller = notes.map((note) => /^([^/\s]\S*:\d+:\d+): note:/.exec(note)?.[1]).find(Boolean);
		return [`${caller ?? '?'}: ${line.slice(line.indexOf('error:'))}`];
	});
}

/** The type of a declaration or expression with typedefs resolved. */
const typeOf = (node) => node.type?.desugaredQualType ?? node.type?.qualType ?? '';

function lint(tree) {
	const problems = new Set();
	// clang names a file and a line only where they differ from the node before.
	const position = { file: '', line: 0 };
	const moveTo = (location) => {
		if (!location) return;
		for (const place of [location.spellingLoc, location.expansionLoc ?? location]) {
			if (!place) continue;
			position.file = place.presumedFile ?? place.file ?? position.file;
			position.line = place.presumedLine ?? place.line ?? position.line;
		}
	};
	const methods = new Map(); // methods of the kernels' own classes: id -> name
	const functions = new Map(); // id -> its position, name and the functions it calls

	function visitDeclaration(node, say, { caller, instantiated }) {
		const type = typeOf(node);
		if (/__generic/.test(type) && node.name && !instantiated)
			say(`'${node.name}': pointer or reference without an address space (${node.type.qualType})`);
		if (/\bdouble\b/.test(type)) say(`'${node.name}': MSL has no double`);
		if (/\blong long\b/.test(type)) say(`'${node.name}': MSL has no long long`);
		if (node.kind !== 'VarDecl' || /__constant/.test(type)) return;
		if (!caller) say(`'${node.name}': a program-scope variable must be in the constant address space`);
		else if (node.storageClass === 'static') say(`'${node.name}': a static local variable must be constant`);
	}
	function visitMemberCall(node, say) {
		const member = node.inner?.[0];
		if (!methods.has(member?.referencedMemberDecl)) return;
		const conversion = (cast) => {
			if (!cast?.kind?.endsWith('CastExpr')) return undefined;
			return cast.castKind === 'AddressSpaceConversion' ? cast : conversion(cast.inner?.[0]);
		};
		const space = /__(?:global|local|constant)/.exec(typeOf(conversion(member.inner?.[0])?.inner?.[0] ?? {}))?.[0];
		if (space)
			say(
				`method '${methods.get(member.referencedMemberDecl)}' called on an object in ${space.slice(2)} memory: needs an address-space qualified method`,
			);
	}
	function visit(node, context) {
		if (!node || typeof node !== 'object') return;
		const hasPlace = node.loc && Object.keys(node.loc).length > 0;
		if (node.loc) moveTo(node.loc);
		const place = { ...position };
		if (node.range) {
			moveTo(node.range.begin);
			moveTo(node.range.end);
			if (hasPlace) Object.assign(position, place);
		}
		const { file, line } = position;
		const say = (problem) => problems.add(`${file}:${line}: error: ${problem}`);
		if (!SHIM.test(file) && !node.isImplicit) {
			if (/^(Var|ParmVar|Field)Decl$/.test(node.kind)) visitDeclaration(node, say, context);
			else if (node.kind === 'LambdaExpr') say('MSL has no lambda expressions (before 3.2)');
			else if (node.kind === 'GotoStmt') say('MSL has no goto');
			else if (node.kind === 'CXXMemberCallExpr') visitMemberCall(node, say);
			else if (node.kind === 'CXXMethodDecl') {
				methods.set(node.id, node.name);
				if (node.virtual) say(`'${node.name}': MSL has no virtual functions`);
			}
		}
		let { caller } = context;
		if (/^(Function|CXXMethod|CXXConstructor)Decl$/.test(node.kind)) {
			const first = functions.get(node.previousDecl);
			caller = first ?? { file, line, name: node.name, user: !SHIM.test(file), calls: new Set() };
			functions.set(node.id, caller);
		}
		const callee = node.referencedDecl?.id ?? node.referencedMemberDecl;
		if (callee && caller) caller.calls.add(callee);
		let pattern = true; // the first function of a template is the template, the others its instances
		for (const child of node.inner ?? []) {
			const ofTemplate = node.kind === 'FunctionTemplateDecl' && child.kind === 'FunctionDecl';
			visit(child, { caller, instantiated: context.instantiated || (ofTemplate && !pattern) });
			if (ofTemplate) pattern = false;
		}
	}
	visit(tree, { caller: undefined, instantiated: false });

	for (const start of new Set(functions.values())) {
		if (!start.user) continue;
		const reached = new Set();
		const queue = [start];
		for (let from = queue.pop(); from; from = queue.pop())
			for (const id of from.calls) {
				const to = functions.get(id);
				if (to && !reached.has(to)) {
					reached.add(to);
					queue.push(to);
				}
			}
		if (reached.has(start)) problems.add(`${start.file}:${start.line}: error: '${start.name}': MSL has no recursion`);
	}
	return [...problems];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const files = process.argv.slice(2);
	const sources = files.length
		? files.map((file) => ({ name: path.basename(file), text: expandMetalSource(file) }))
		: metalSources();
	for (const { name, text } of sources) {
		const problems = await checkMetal(text, name);
		for (const problem of problems) console.log(problem);
		if (problems.length > 0) process.exitCode = 1;
	}
}
