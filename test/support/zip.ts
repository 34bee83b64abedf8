// Reads a whole ZIP file, such as a VSIX: its names and their contents.
import { inflateRawSync } from 'node:zlib';

/**
 * Reads the central directory and what it points to, as PKWARE's APPNOTE describes them. It does not read ZIP64.
 * @throws Error when the bytes are no ZIP file
 */
export function readZip(bytes: Buffer): Map<string, Buffer> {
	const end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
	if (end < 0) throw new Error('no ZIP file');
	const files = new Map<string, Buffer>();
	let at = bytes.readUInt32LE(end + 16);
	for (let i = 0; i < bytes.readUInt16LE(end + 10); i++) {
		const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
		const name = bytes.toString('utf8', at + 46, at + 46 + nameBytes!);
		const local = bytes.readUInt32LE(at + 42);
		const from = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
		const content = bytes.subarray(from, from + bytes.readUInt32LE(at + 20));
		const STORED = 0;
		files.set(name, bytes.readUInt16LE(at + 10) === STORED ? content : inflateRawSync(content));
		at += 46 + nameBytes! + extraBytes! + commentBytes!;
	}
	return files;
}
