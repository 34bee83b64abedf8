// The folders of native/ stand on one another. An #include names a file of the same folder or of a folder on a lower
// floor.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const native = path.resolve(import.meta.dirname, '..', '..', 'native');

/**
 * What the files of each folder may include besides their own folder's files. A folder is listed below those that it
 * may include. A cycle thus cannot be written down here, and only the addon sees a backend.
 */
const FLOORS: [folder: string, mayInclude: string[]][] = [
	['core', []],
	['cpu', ['core']],
	['metal/device', ['core']],
	['metal', ['core', 'metal/device']],
	['addon', ['core', 'cpu', 'metal']],
	['addon/windows', []],
];

interface Source {
	/** The path below native/, with slashes. */
	file: string;
	text: string;
}

/** Lists `FILE includes FILE` for each #include "…" that names a file of a folder that is not allowed. */
function wrongIncludes(sources: readonly Source[]): string[] {
	const floors = new Map(FLOORS);
	return sources.flatMap(({ file, text }) => {
		const folder = path.posix.dirname(file);
		return [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)]
			.map(([, name]) => path.posix.join(folder, name!))
			.filter((included) => {
				const other = path.posix.dirname(included);
				return other !== folder && !floors.get(folder)?.includes(other);
			})
			.map((included) => `${file} includes ${included}`);
	});
}

function sources(): Source[] {
	return readdirSync(native, { recursive: true, encoding: 'utf8' })
		.map((file) => file.replaceAll('\\', '/'))
		.filter((file) => !file.startsWith('test/') && /\.(h|cpp|metal)$/.test(file))
		.map((file) => ({ file, text: readFileSync(path.join(native, file), 'utf8') }));
}

test('every folder of native/ includes only its own files and those of folders it stands on', () => {
	const all = sources();
	expect(new Set(all.map(({ file }) => path.posix.dirname(file)))).toEqual(new Set(FLOORS.map(([folder]) => folder)));
	expect(wrongIncludes(all)).toEqual([]);
});

test('no folder stands on one that is named after it', () => {
	const seen = new Set<string>();
	for (const [folder, mayInclude] of FLOORS) {
		for (const other of mayInclude) expect(seen, `${folder} on ${other}`).toContain(other);
		seen.add(folder);
	}
});

test.each([
	['core/a.cpp', '#include "../cpu/kernels.h"', 'cpu/kernels.h'],
	['core/a.h', '  # include "../metal/metal_device.h"', 'metal/metal_device.h'],
	['cpu/a.cpp', '#include "b.h"\n#include "../addon/devices.h"', 'addon/devices.h'],
	['cpu/a.cpp', '#include "../metal/kernels.h"', 'metal/kernels.h'],
	['metal/device/a.h', '#include "../kernels.h"', 'metal/kernels.h'],
	['addon/a.cpp', '#include "../metal/device/gpu.h"', 'metal/device/gpu.h'],
	['new/a.cpp', '#include "../core/error.h"', 'core/error.h'],
])('%s may not say %s', (file, text, included) => {
	expect(wrongIncludes([{ file, text }])).toEqual([`${file} includes ${included}`]);
});

test.each([
	['core/a.cpp', '#include "a.h"\n#include <vector>'],
	['cpu/a.cpp', '#include "../core/error.h"'],
	['metal/device/a.cpp', '#include "../../core/error.h"'],
	['addon/a.cpp', '#include "../cpu/kernels.h"'],
	['core/a.cpp', '// as in #include "../cpu/kernels.h"'],
])('%s may say %s', (file, text) => {
	expect(wrongIncludes([{ file, text }])).toEqual([]);
});
