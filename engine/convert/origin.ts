// What a model file says about the conversion that made it. By this Hearth recognises its own files and tells whether
// they are out of date.
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { loadNative, type MetadataValue, type StringTable } from '../../native/index';
import type { ConvertOptions } from './options';

/** Metadata key: a digest of everything that was read and of the options. Only Hearth's conversions have it. */
export const SOURCE_KEY = 'hearth.converted_from';
/** Metadata key: the names of the files that were read. */
export const FILES_KEY = 'hearth.converted_files';
/** Metadata key: identifies the folder and the options. The value stays the same when the folder's files change. */
export const IDENTITY_KEY = 'hearth.conversion';

/**
 * Metadata key: bytes of all tensors. A tool that makes another file of this one, such as a quantiser, keeps all keys
 * but changes the number of bytes.
 */
export const BYTES_KEY = 'hearth.converted_bytes';

export interface Origin {
	digest: string;
	/** Files of earlier versions lack it. */
	files: string[] | undefined;
	identity: string | undefined;
	architecture: string;
}

/**
 * The conversion that made a file; undefined where Hearth did not make the file, where there is no file, or where
 * another tool has rewritten it.
 */
export async function readOrigin(file: string): Promise<Origin | undefined> {
	const header = await loadNative()
		.readGguf(file)
		.catch(() => undefined);
	const text = (key: string) => {
		const value = header?.metadata.get(key);
		return typeof value === 'string' ? value : undefined;
	};
	const digest = text(SOURCE_KEY);
	if (!header || digest === undefined) return undefined;
	// Files of earlier versions lack it.
	const bytes = header.metadata.get(BYTES_KEY);
	if (bytes !== undefined && Number(bytes) !== totalBytes(header.tensors)) return undefined;
	const files = header.metadata.get(FILES_KEY);
	return {
		digest,
		files: isStringTable(files) ? stringsOf(files) : undefined,
		identity: text(IDENTITY_KEY),
		architecture: text('general.architecture') ?? '',
	};
}

const totalBytes = (tensors: readonly { bytes: number }[]) => tensors.reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * Identifies a conversion by the folder's path and the options. It is a digest, so that a file does not reveal its
 * maker's paths.
 */
export async function identityOf(folder: string, { weights, target }: ConvertOptions): Promise<string> {
	const place = await realpath(folder).catch(() => path.resolve(folder));
	const choices = [place, weights ?? null, target === undefined ? null : path.resolve(target)];
	return createHash('sha256').update(JSON.stringify(choices)).digest('hex').slice(0, 32);
}

function isStringTable(value: MetadataValue | undefined): value is StringTable {
	return typeof value === 'object' && 'offsets' in value;
}

const textDecoder = new TextDecoder();
function stringsOf({ bytes, offsets }: StringTable): string[] {
	return Array.from({ length: offsets.length - 1 }, (_, i) =>
		textDecoder.decode(bytes.subarray(offsets[i], offsets[i + 1])),
	);
}
