// What a file says about the conversion it comes from: by this Hearth knows its own files, and whether they are out of date.
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { loadNative, type MetadataValue, type StringTable } from '../../native/index';
import type { ConvertOptions } from './options';

/** Metadata key: a digest of all that was read and of the choices. Only Hearth's conversions have it. */
export const SOURCE_KEY = 'hearth.converted_from';
/** Metadata key: the names of what was read. */
export const FILES_KEY = 'hearth.converted_files';
/** Metadata key: which folder was converted, and how; the same after the folder has changed. */
export const IDENTITY_KEY = 'hearth.conversion';

/** Metadata key: bytes of the tensors. Tools that make another file of one (a quantised one) keep all keys and change these. */
export const BYTES_KEY = 'hearth.converted_bytes';

export interface Origin {
	digest: string;
	/** Absent in files of earlier versions. */
	files: string[] | undefined;
	identity: string | undefined;
	architecture: string;
}

/** The conversion a file comes from; undefined where there is none, or no such file, or another tool has made the file of ours. */
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
	// Absent in files of earlier versions.
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

/** Names a conversion: by the folder's place and the choices, as a digest, so that a file tells nobody its maker's paths. */
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
