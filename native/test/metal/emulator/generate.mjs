// From MSL to C++: turns the text of a .metal file into a translation unit for the executor, or for the validity check.
//
// Every line stays where it was, so that compilers and checkers report positions in the .metal file. The generator
// changes these:
//   - `threadgroup T name[n];` in a kernel: becomes a reference into the threadgroup's memory,
//   - `constant T name [[function_constant(i)]];`: becomes a registered variable,
//   - attributes of kernels and their parameters: removed, and become the registration appended at the end,
//   - floating-point literals without a suffix: float, as in MSL.
import { execFileSync } from 'node:child_process';

/** The version of the language that kernels may assume: Metal 3.0, which macOS 13 has. `bfloat` came with 3.1. */
const METAL_VERSION = 300;

const POSITIONS = {
	thread_position_in_grid: 'thread_position_in_grid',
	threadgroup_position_in_grid: 'threadgroup_position_in_grid',
	thread_position_in_threadgroup: 'thread_position_in_threadgroup',
	thread_index_in_threadgroup: 'thread_index_in_threadgroup',
	thread_index_in_simdgroup: 'thread_index_in_simdgroup',
	simdgroup_index_in_threadgroup: 'simdgroup_index_in_threadgroup',
	simdgroups_per_threadgroup: 'simdgroups_per_threadgroup',
	dispatch_simdgroups_per_threadgroup: 'simdgroups_per_threadgroup',
	threads_per_threadgroup: 'threads_per_threadgroup',
	dispatch_threads_per_threadgroup: 'threads_per_threadgroup',
	threadgroups_per_grid: 'threadgroups_per_grid',
	threads_per_grid: 'threads_per_grid',
	threads_per_simdgroup: 'threads_per_simdgroup',
};

/** Positions and sizes in a grid: in a kernel all of them are scalars, or vectors of the same length. */
const GRID = new Set(Object.keys(POSITIONS).filter((name) => !/index|simdgroup/.test(name)));

/** Expands macros. Line markers keep the positions. */
function preprocess(text, file, compiler) {
	const standalone = text.replace(/^[ \t]*#[ \t]*include[ \t]*<(.*)>.*$/gm, (_, header) => {
		if (!/^metal_\w+$/.test(header) && header !== 'metal_stdlib')
			throw new Error(`${file}: <${header}> is no header of MSL`);
		return '';
	});
	const args = ['-E', '-x', 'c++', '-nostdinc', `-D__METAL_VERSION__=${METAL_VERSION}`, '-D__METAL__=1', '-'];
	try {
		return execFileSync(compiler, args, {
			input: `#line 1 "${file}"\n${standalone}`,
			encoding: 'utf8',
			maxBuffer: 1 << 28,
			stdio: ['pipe', 'pipe', 'pipe'],
		});
	} catch (error) {
		throw new Error(error.stderr || error.message);
	}
}

/** The same text with comments, the contents of strings, line markers and pragmas blanked, to search it safely. */
function blank(text) {
	return text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|^#[^\n]*/gm, (found) =>
		found[0] === '"' ? `"${' '.repeat(found.length - 2)}"` : found.replace(/[^\n]/g, ' '),
	);
}

/** The FNV-1a hash of the bytes, as a C++ literal. Fake Metal compares it with the hash of the text that it is given. */
export function sourceHash(text) {
	let hash = 14695981039346656037n;
	for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 1099511628211n) & 0xffff_ffff_ffff_ffffn;
	return `${hash}ull`;
}

/**
 * @param {string} original text of a .metal file, its own includes expanded
 * @param {string} file its name, for messages and the registry
 * @param {{check?: boolean, compiler?: string}} options `check`: for the validity check, else for execution
 * @returns {string} C++ (`check`: C++ for OpenCL). Throws with position and reason on what MSL does not allow.
 */
export function generate(original, file, { check = false, compiler = 'clang++-19' } = {}) {
	const text = preprocess(original, file, compiler);
	const code = blank(text);
	const out = text.split('');
	const replace = (from, to, replacement) => {
		out[from] = replacement + text.slice(from, to).replace(/[^\n]/g, '');
		out.fill('', from + 1, to);
	};

	const markers = [...text.matchAll(/^# (\d+) "([^"]*)".*$/gm)];
	const positionOf = (at) => {
		const marker = markers.findLast((found) => found.index <= at);
		if (!marker) return { file, line: 0 };
		return { file: marker[2], line: Number(marker[1]) + text.slice(marker.index, at).split('\n').length - 2 };
	};
	const reject = (at, message) => {
		const { file, line } = positionOf(at);
		throw new Error(`${file}:${line}: error: ${message}`);
	};
	const closing = (at, open, close) => {
		for (let depth = 0, i = at; i < code.length; i++) {
			if (code[i] === open) depth++;
			else if (code[i] === close && --depth === 0) return i;
		}
		return reject(at, `unbalanced ${open}`);
	};
	for (const found of code.matchAll(/\b\w*bfloat\w*\b/g))
		if (METAL_VERSION < 310) reject(found.index, `${found[0]} needs Metal 3.1 (macOS 14)`);

	/** Says where each parameter of a kernel comes from, and removes the attributes. */
	function readParameters(from, to) {
		const sources = [];
		const used = { buffer: 0, threadgroup: 0 };
		let written = 0;
		let components;
		const parts = [];
		for (let i = from, start = from, depth = 0; i <= to; i++) {
			if ('([{<'.includes(code[i])) depth++;
			else if (')]}>'.includes(code[i])) depth--;
			if ((code[i] === ',' && depth === 0) || i === to) {
				parts.push([start, i]);
				start = i + 1;
			}
		}
		for (const [a, b] of parts) {
			const parameter = code.slice(a, b);
			if (!parameter.trim()) continue;
			const attribute = /\[\[\s*(?:metal::)?([a-z_]+)\s*(?:\(\s*([^)]*?)\s*\))?/.exec(parameter);
			if (!attribute) reject(a, `kernel parameter without an attribute: ${parameter.trim()}`);
			const [, name, argument] = attribute;
			for (const found of parameter.matchAll(/\[\[[^\]]*\]\]/g))
				replace(a + found.index, a + found.index + found[0].length, '');
			if (name === 'buffer' || name === 'threadgroup') {
				if (!/^\d+$/.test(argument ?? '') || Number(argument) > 30)
					reject(a, `[[${name}(${argument})]] is no index of 0 to 30`);
				const bit = 1 << Number(argument);
				if (used[name] & bit) reject(a, `[[${name}(${argument})]] is used twice`);
				used[name] |= bit;
				const space = name === 'buffer' ? /\b(device|constant)\b[^[]*[*&]/ : /\bthreadgroup\b[^[]*[*&]/;
				if (!space.test(parameter)) reject(a, `a ${name} parameter without its address space: ${parameter.trim()}`);
				if (name === 'buffer' && !/\b(constant|const)\b/.test(parameter)) written |= bit;
				sources.push(`msl::from::${name === 'buffer' ? 'Buffer' : 'Threadgroup'}<${argument}>`);
			} else if (POSITIONS[name]) {
				if (GRID.has(name)) {
					const own = /\b(?:uint|ushort)([23]?)\b/.exec(parameter)?.[1];
					components ??= own;
					if (own !== components)
						reject(a, `positions of ${own || 1} and of ${components || 1} components in one kernel`);
				}
				sources.push(`msl::from::${POSITIONS[name]}`);
			} else reject(a, `unknown attribute [[${name}]]`);
		}
		return { sources, buffers: used.buffer, threadgroupSlots: used.threadgroup, written };
	}

	const kernels = new Map();
	const instances = [];
	const keyword = /\bkernel\b/g;
	for (let found = keyword.exec(code); found; found = keyword.exec(code)) {
		const after = found.index + 'kernel'.length;
		const before = code.slice(0, found.index);
		const attributes = /(\[\[[^\]]*\]\]\s*)*$/.exec(before);
		const given = text.slice(attributes.index, found.index);
		const hostName = /host_name\s*\(\s*"([^"]*)"\s*\)/.exec(given)?.[1];
		const maxThreads = Number(/max_total_threads_per_threadgroup\s*\(\s*(\d+)\s*\)/.exec(given)?.[1] ?? 1024);
		const instantiation = /\btemplate\s*$/.exec(before.slice(0, attributes.index));
		if (instantiation) {
			// template [[host_name("x")]] kernel T name<arguments>(parameters);
			const end = code.indexOf(';', after);
			const name = /([A-Za-z_]\w*)\s*</.exec(
				code
					.slice(after, end)
					.replace(/^\s*(void|decltype\s*\(.*?\)|[A-Za-z_]\w*)\s+/, (type) => ' '.repeat(type.length)),
			);
			if (!name || !hostName)
				reject(found.index, 'cannot read this instantiation: [[host_name("x")]] kernel T name<…>');
			const open = code.indexOf('<', after + name.index);
			const expression = name[1] + text.slice(open, closing(open, '<', '>') + 1).replace(/\n/g, ' ');
			instances.push({ name: hostName, base: name[1], expression, at: found.index, maxThreads });
			replace(instantiation.index, end + 1, '');
			keyword.lastIndex = end;
			continue;
		}
		const signature = /^\s*(?:\[\[[^\]]*\]\]\s*)?void\s+([A-Za-z_]\w*)\s*\(/.exec(code.slice(after));
		if (!signature) {
			if (/^\s*[A-Za-z_]\w*\s+[A-Za-z_]\w*\s*\(/.test(code.slice(after)))
				reject(found.index, 'a kernel must return void');
			continue;
		}
		const open = after + signature[0].length - 1;
		kernels.set(signature[1], readParameters(open + 1, closing(open, '(', ')')));
		if (attributes[0]) replace(attributes.index, found.index, '');
		if (!/\btemplate\s*<[^;{}]*>\s*$/.test(before.slice(0, attributes.index)))
			instances.push({
				name: hostName ?? signature[1],
				base: signature[1],
				expression: signature[1],
				at: found.index,
				maxThreads,
			});
	}

	// Threadgroup variables are statements inside a kernel's body.
	let variables = 0;
	for (let i = 0, depth = 0, namespaces = 0, statement = 0, inKernel = false; i < code.length; i++) {
		if (code[i] === '{') {
			const head = code.slice(statement, i);
			if (depth === namespaces) {
				if (/\b(namespace|extern)\b[^;(]*$/.test(head)) namespaces++;
				else inKernel = /\bkernel\b/.test(head);
			}
			depth++;
			statement = i + 1;
		} else if (code[i] === '}') {
			depth--;
			namespaces = Math.min(namespaces, depth);
			statement = i + 1;
		} else if (code[i] === ';') {
			statement = i + 1;
		} else if (depth > 0 && /^\bthreadgroup\b/.test(code.slice(i, i + 12)) && !/\w/.test(code[i - 1])) {
			const end = code.indexOf(';', i);
			const declaration = code.slice(i, end);
			if (!';{})'.includes(code.slice(0, i).trimEnd().slice(-1))) continue; // a cast, a parameter, a template argument
			const type = /^threadgroup\s+((?:const\s+)?[A-Za-z_][\w:]*(?:\s*<[^;=]*>)?)\s+(?=[A-Za-z_])/.exec(declaration);
			const names = type
				? declaration
						.slice(type[0].length)
						.split(/,(?![^[]*\])/)
						.map((name) => /^\s*([A-Za-z_]\w*)\s*((?:\[[^\]]*\]\s*)*)$/.exec(name))
				: [];
			if (type && names.every(Boolean)) {
				if (!inKernel) reject(i, 'a threadgroup variable outside a kernel function');
				const references = names.map(
					([, name, size]) =>
						`auto& ${name} = msl::threadgroup_variable<${variables++}, ${type[1]}${size.trim()}>("${name}");`,
				);
				replace(i, end + 1, references.join(' '));
			} else if (!/^threadgroup\s+[^(]*[*&]/.test(declaration)) {
				reject(i, `cannot read this threadgroup declaration: ${declaration}`);
			}
		}
	}

	const constants =
		/\bconstant\s+([A-Za-z_]\w*)\s+([A-Za-z_]\w*)\s*\[\[\s*function_constant\s*\(([^\]]*)\)\s*\]\]\s*;/g;
	for (const { index, 0: found, 1: type, 2: name, 3: number } of code.matchAll(constants))
		replace(
			index,
			index + found.length,
			check
				? `extern constant ${type} ${name};`
				: `static ${type} ${name}; static msl::ConstantEntry msl_constant_${name}(${JSON.stringify(file)}, "${name}", "${type}", ${number}, &${name}, sizeof(${type}));`,
		);

	const literals = /(?<![\w.])(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w.])/g;
	for (const { index, 0: found } of code.matchAll(literals)) {
		const last = index + found.length - 1;
		if (out[index] === text[index] && out[last] === text[last]) out[last] += 'f';
	}
	for (const { index, 0: found } of text.matchAll(/^#pragma (?:unroll|once).*$/gm))
		replace(index, index + found.length, '');

	const body = out.join('');
	const use = instances.map(({ expression }, i) => ({ expression, i }));
	if (check)
		return `${[
			'#include "msl/check.h"',
			'#include "msl/keywords_check.h"',
			body,
			...use.map(({ expression, i }) => `void msl_use_${i}() { auto p = &${expression}; (void)p; }`),
		].join('\n')}\n`;
	const registrations = instances.map(({ name, base, expression, at, maxThreads }, i) => {
		const kernel = kernels.get(base) ?? reject(at, `no kernel ${base} for ${name}`);
		const entry = `msl::Entry<${[`msl::FunctionOf<decltype(&${expression})>::type`, ...kernel.sources].join(', ')}>`;
		return `static msl::KernelEntry msl_kernel_${i}({${[
			...[JSON.stringify(name), `&${entry}::call<&${expression}>`],
			...[`${kernel.buffers}u`, `${kernel.threadgroupSlots}u`, `${kernel.written}u`],
			...[`&${entry}::alignment`, `${maxThreads}u`, JSON.stringify(file), positionOf(at).line],
		].join(', ')}});`;
	});
	return `${[
		...['#include "registry.h"', '#include "msl/shim.h"', '#include "msl/keywords_execute.h"'],
		// Each file is a library of its own, so two files may use one name for different things.
		...['namespace {', body],
		...['#include "msl/keywords_off.h"', '#line 1 "(registration)"'],
		`static msl::SourceEntry msl_source(${JSON.stringify(file)}, ${sourceHash(original)});`,
		...[...registrations, '}'],
	].join('\n')}\n`;
}
