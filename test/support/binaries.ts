// Reads what a shared library says of itself from its bytes: Mach-O, ELF (64-bit, little-endian) and PE32+.
import { createHash } from 'node:crypto';

export interface Library {
	/** The platform as Node.js names it. */
	platform: 'darwin' | 'linux' | 'win32';
	arch: 'x64' | 'arm64';
	/** Names of functions and data that other libraries may use, without Mach-O's leading underscore. */
	exports: string[];
	/**
	 * What the library takes from others. `from` is the name of a library. On Mach-O it is undefined where any library or
	 * the program will do.
	 */
	imports: { name: string; from?: string | undefined }[];
	/** Libraries that must exist for this one to load. */
	libraries: string[];
}

export interface MachO extends Library {
	/** Values of LC_BUILD_VERSION. */
	build: { platform: number; minimum: string };
	installName: string;
	signature: MachOSignature | undefined;
}

export interface MachOSignature {
	identifier: string;
	/**
	 * Whether nobody in particular has signed the library (an ad-hoc signature). arm64 requires at least this of every
	 * library.
	 */
	adHoc: boolean;
	/** Number of bytes that the hashes cover: all that come before the signature. */
	codeLimit: number;
	signatureOffset: number;
	/** Pages whose hash differs from the signed hash. */
	badPages: number[];
	pages: number;
}

export interface Elf extends Library {
	/** Versions of symbols by the library that they come from: `libc.so.6` → GLIBC_2.17… */
	versions: Map<string, string[]>;
	/** Folders that the library asks the loader to search. */
	runPaths: string[];
}

const text = (bytes: Buffer, at: number): string => bytes.toString('latin1', at, bytes.indexOf(0, at));
const long = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

/**
 * Reads a Mach-O library as `mach-o/loader.h` and `mach-o/nlist.h` describe it.
 * @throws Error when the bytes are no 64-bit Mach-O library
 */
export function readMachO(bytes: Buffer): MachO {
	const word = (at: number): number => bytes.readUInt32LE(at);
	const cpus: Record<number, Library['arch']> = { 16777223: 'x64', 16777228: 'arm64' };
	const arch = cpus[word(4)];
	const MH_DYLIB = 6;
	const MH_BUNDLE = 8;
	if (word(0) !== 0xfeedfacf || !arch || ![MH_DYLIB, MH_BUNDLE].includes(word(12)))
		throw new Error('no Mach-O library');
	const macho: MachO = {
		...{ platform: 'darwin', arch, exports: [], imports: [], libraries: [], installName: '' },
		...{ build: { platform: 0, minimum: '' }, signature: undefined },
	};
	let symbols = { at: 0, count: 0, strings: 0 };
	let at = 32;
	for (let i = 0; i < word(16); i++, at += word(at + 4)) {
		switch (word(at)) {
			case 0x02: // LC_SYMTAB
				symbols = { at: word(at + 8), count: word(at + 12), strings: word(at + 16) };
				break;
			case 0x0c: // LC_LOAD_DYLIB
			case 0x80000018: // LC_LOAD_WEAK_DYLIB
			case 0x8000001f: // LC_REEXPORT_DYLIB
				macho.libraries.push(text(bytes, at + word(at + 8)));
				break;
			case 0x0d: // LC_ID_DYLIB
				macho.installName = text(bytes, at + word(at + 8));
				break;
			case 0x32: {
				// LC_BUILD_VERSION: 16 bits major, 8 minor, 8 patch
				const version = word(at + 12);
				macho.build = { platform: word(at + 8), minimum: `${version >>> 16}.${(version >>> 8) & 255}` };
				break;
			}
			case 0x1d: // LC_CODE_SIGNATURE
				macho.signature = readSignature(bytes, word(at + 8));
		}
	}
	for (let i = 0; i < symbols.count; i++) {
		const entry = symbols.at + 16 * i;
		const type = bytes.readUInt8(entry + 4);
		const name = text(bytes, symbols.strings + word(entry)).replace(/^_/, '');
		const N_STAB = 0xe0;
		const N_PRIVATE_EXTERNAL = 0x10;
		if (type & N_STAB || !(type & 1)) continue;
		const ordinal = bytes.readUInt16LE(entry + 6) >>> 8;
		if (type & 0x0e) {
			if (!(type & N_PRIVATE_EXTERNAL)) macho.exports.push(name);
		} else {
			const DYNAMIC_LOOKUP = 0xfe;
			macho.imports.push({ name, from: ordinal === DYNAMIC_LOOKUP ? undefined : macho.libraries[ordinal - 1] });
		}
	}
	return macho;
}

/** Reads an embedded signature with one code directory (`kern/cs_blobs.h`; its numbers are big-endian). */
function readSignature(bytes: Buffer, at: number): MachOSignature {
	const word = (offset: number): number => bytes.readUInt32BE(offset);
	if (word(at) !== 0xfade0cc0) throw new Error('the signature is no embedded signature');
	let directory = 0;
	for (let i = 0; i < word(at + 8); i++) {
		const CODE_DIRECTORY = 0;
		if (word(at + 12 + 8 * i) === CODE_DIRECTORY) directory = at + word(at + 16 + 8 * i);
	}
	if (word(directory) !== 0xfade0c02) throw new Error('the signature has no code directory');
	const SHA256 = 2;
	if (bytes.readUInt8(directory + 37) !== SHA256) throw new Error('the signature is not one of SHA-256');
	const hashes = directory + word(directory + 16);
	const pages = word(directory + 28);
	const codeLimit = word(directory + 32);
	const pageBytes = 2 ** bytes.readUInt8(directory + 39);
	const badPages: number[] = [];
	if (pages !== Math.ceil(codeLimit / pageBytes)) throw new Error('the signature has not a hash for every page');
	for (let page = 0; page < pages; page++) {
		const content = bytes.subarray(page * pageBytes, Math.min((page + 1) * pageBytes, codeLimit));
		const signed = bytes.subarray(hashes + 32 * page, hashes + 32 * (page + 1));
		if (!createHash('sha256').update(content).digest().equals(signed)) badPages.push(page);
	}
	return {
		identifier: text(bytes, directory + word(directory + 20)),
		adHoc: (word(directory + 12) & 2) !== 0,
		...{ codeLimit, signatureOffset: at, badPages, pages },
	};
}

/**
 * Reads an ELF library as `elf.h` describes it.
 * @throws Error when the bytes are no 64-bit ELF library
 */
export function readElf(bytes: Buffer): Elf {
	const word = (at: number): number => bytes.readUInt32LE(at);
	const half = (at: number): number => bytes.readUInt16LE(at);
	const machines: Record<number, Library['arch']> = { 62: 'x64', 183: 'arm64' };
	const arch = machines[half(18)];
	const ET_DYN = 3;
	if (bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01' || half(16) !== ET_DYN || !arch)
		throw new Error('no ELF library');
	const sections = Array.from({ length: half(60) }, (_, i) => {
		const at = long(bytes, 40) + i * half(58);
		return { type: word(at + 4), offset: long(bytes, at + 24), size: long(bytes, at + 32), link: word(at + 40) };
	});
	const findSection = (type: number) => {
		const found = sections.find((candidate) => candidate.type === type);
		return found && { ...found, strings: sections[found.link]?.offset ?? 0 };
	};
	const section = (type: number) => {
		const found = findSection(type);
		if (!found) throw new Error(`no section of type ${type}`);
		return found;
	};
	const elf: Elf = {
		...{ platform: 'linux', arch, exports: [], imports: [], libraries: [] },
		...{ versions: new Map<string, string[]>(), runPaths: [] },
	};
	const dynamic = section(6); // SHT_DYNAMIC
	for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
		const value = (): string => text(bytes, dynamic.strings + long(bytes, at + 8));
		const tag = long(bytes, at);
		if (tag === 1) elf.libraries.push(value()); // DT_NEEDED
		if (tag === 15 || tag === 29) elf.runPaths.push(value()); // DT_RPATH, DT_RUNPATH
	}
	const symbols = section(11); // SHT_DYNSYM
	for (let at = symbols.offset + 24; at < symbols.offset + symbols.size; at += 24) {
		const name = text(bytes, symbols.strings + word(at));
		if (half(at + 6) === 0) elf.imports.push({ name });
		else elf.exports.push(name);
	}
	const needs = findSection(0x6ffffffe); // SHT_GNU_verneed
	if (!needs) return elf;
	for (let at = needs.offset, next = 1; next; at += next) {
		next = word(at + 12);
		const names: string[] = [];
		let entry = at + word(at + 8);
		for (let i = 0; i < half(at + 2); i++, entry += word(entry + 12))
			names.push(text(bytes, needs.strings + word(entry + 8)));
		elf.versions.set(text(bytes, needs.strings + word(at + 4)), names);
	}
	return elf;
}

/**
 * Reads a DLL as "PE Format" of Microsoft's documentation describes it.
 * @throws Error when the bytes are no 64-bit DLL
 */
export function readPe(bytes: Buffer): Library {
	const word = (at: number): number => bytes.readUInt32LE(at);
	const header = word(0x3c);
	const machines: Record<number, Library['arch']> = { 34404: 'x64', 43620: 'arm64' };
	const arch = machines[bytes.readUInt16LE(header + 4)];
	const DLL = 0x2000;
	const isDll = (bytes.readUInt16LE(header + 22) & DLL) !== 0;
	if (bytes.toString('latin1', header, header + 4) !== 'PE\0\0' || !arch || !isDll) throw new Error('no DLL');
	const optional = header + 24;
	const PE32_PLUS = 0x20b;
	if (bytes.readUInt16LE(optional) !== PE32_PLUS) throw new Error('no 64-bit DLL');
	const sections = Array.from({ length: bytes.readUInt16LE(header + 6) }, (_, i) => {
		const at = optional + bytes.readUInt16LE(header + 20) + 40 * i;
		return { address: word(at + 12), size: word(at + 16), offset: word(at + 20) };
	});
	/** The offset of an address in the file. */
	const place = (address: number): number => {
		const found = sections.find((section) => address >= section.address && address < section.address + section.size);
		if (!found) throw new Error(`address ${address} is in no section`);
		return address - found.address + found.offset;
	};
	const library: Library = { platform: 'win32', arch, exports: [], imports: [], libraries: [] };
	if (word(optional + 112)) {
		const directory = place(word(optional + 112));
		const names = place(word(directory + 32));
		for (let i = 0; i < word(directory + 24); i++) library.exports.push(text(bytes, place(word(names + 4 * i))));
	}
	for (let at = place(word(optional + 120)); word(at + 12); at += 20) {
		const from = text(bytes, place(word(at + 12)));
		library.libraries.push(from);
		for (let entry = place(word(at)); long(bytes, entry); entry += 8) {
			const BY_ORDINAL = 0x80000000;
			const name = word(entry + 4) & BY_ORDINAL ? `#${word(entry)}` : text(bytes, place(word(entry)) + 2);
			library.imports.push({ name, from });
		}
	}
	return library;
}

/** Names that an object file for Windows takes from other files ("PE Format", COFF Symbol Table). */
export function coffImports(bytes: Buffer): string[] {
	const symbols = bytes.readUInt32LE(8);
	const count = bytes.readUInt32LE(12);
	const strings = symbols + 18 * count;
	const names: string[] = [];
	for (let i = 0; i < count; i++) {
		const at = symbols + 18 * i;
		const UNDEFINED = 0;
		const isLong = bytes.readUInt32LE(at) === 0;
		const short = bytes.toString('latin1', at, at + 8).replace(/\0+$/, '');
		const name = isLong ? text(bytes, strings + bytes.readUInt32LE(at + 4)) : short;
		if (bytes.readInt16LE(at + 12) === UNDEFINED) names.push(name);
		i += bytes.readUInt8(at + 17); // auxiliary records of this symbol
	}
	return names;
}
