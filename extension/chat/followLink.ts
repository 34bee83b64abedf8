// What a click on a link in an answer does. This file does not use VS Code: it acts through the small interface
// `LinkHost`.
import { candidatesOf, type FileCandidate, readLink } from './links';

/** Characters of an address that a message to the user shows. */
const MAX_SHOWN = 120;

interface LinkHost {
	/** The folders of the workspace, by the paths of their URIs. */
	readonly folders: readonly { name: string; path: string }[];
	/** Resolves to undefined when there is nothing at this place that could be opened. */
	typeOf(place: FileCandidate): Promise<'file' | 'folder' | undefined>;
	openFile(place: FileCandidate): Promise<void>;
	showFolder(place: FileCandidate): Promise<void>;
	openExternal(address: string): Promise<void>;
	/** Asks the question and resolves to whether the user agrees. */
	confirm(question: string): Promise<boolean>;
	warn(message: string): void;
}

/**
 * Follows a link. A bad link never makes this reject: the user is told what cannot be opened. Only an error of the host
 * rejects.
 */
export async function followLink(href: string, host: LinkHost): Promise<void> {
	const target = readLink(href);
	if (target.kind === 'external') return host.openExternal(target.href);
	if (target.kind === 'refused') {
		host.warn(`Hearth opens files, web pages and mail addresses that an answer links to, not ${shown(href)}.`);
	}
	if (target.kind !== 'file') return;
	for (const place of target.readings.flatMap((reading) => candidatesOf(reading, host.folders))) {
		const type = await host.typeOf(place);
		if (type === undefined) continue;
		if (place.folder === undefined) {
			const question = `The answer links to ${shown(place.path)}, which is not in this workspace.`;
			if (!(await host.confirm(question))) return;
		}
		return type === 'file' ? host.openFile(place) : host.showFolder(place);
	}
	host.warn(`There is no file ${shown(target.readings[0]!.path)}.`);
}

function shown(text: string): string {
	const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
	return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN - 1)}…` : line;
}
