// `hearth tokenize` and `hearth detokenize`: turn text into token ids and back, with a model's own vocabulary.
import { readHeader } from '../models/header';
import { Tokenizer } from '../tokenizer/tokenizer';
import { parseCommandLine, parseTokenIds, readStandardInput, UsageError, writeJson, writeOutput } from './command';

const tokenizeHelp = `usage: hearth tokenize MODEL [--json] < TEXT

Prints the token ids of the text on standard input, separated by spaces. What is no UTF-8 counts as U+FFFD. Text that looks like a
special token (<|end|>) stays text.

  --json    print { "tokens": [ids] }
`;

const detokenizeHelp = `usage: hearth detokenize MODEL [--json] < IDS

Writes the bytes of the token ids on standard input, which are separated by white space or commas. Special tokens are written
as their names.

  --json    print { "text": "…" } instead of raw bytes
`;

/** Runs `hearth tokenize`. */
export async function tokenize(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, tokenizeHelp, { json: { type: 'boolean' } }, ['MODEL']);
	const tokenizer = await openTokenizer(positionals[0]!);
	const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(await readStandardInput());
	const ids = [...tokenizer.encode(text)];
	if (values.json) await writeJson({ tokens: ids });
	else await writeOutput(`${ids.join(' ')}\n`);
}

/** Runs `hearth detokenize`. */
export async function detokenize(args: string[]): Promise<void> {
	const { values, positionals } = parseCommandLine(args, detokenizeHelp, { json: { type: 'boolean' } }, ['MODEL']);
	const tokenizer = await openTokenizer(positionals[0]!);
	const bytes = tokenizer.decode(readIds((await readStandardInput()).toString('utf8').trim()));
	if (values.json) await writeJson({ text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) });
	else await writeOutput(bytes);
}

/** Reads ids that are plain numbers, or that `tokenize --json` has written. */
function readIds(input: string): number[] {
	if (input === '') return [];
	if (!/^[[{]/.test(input)) return parseTokenIds('standard input', input);
	let value: unknown;
	try {
		value = JSON.parse(input);
	} catch {
		throw new UsageError('standard input is neither numbers nor JSON');
	}
	const list = Array.isArray(value) ? value : (value as { tokens?: unknown }).tokens;
	if (!Array.isArray(list)) throw new UsageError('standard input holds no "tokens"');
	return list.length === 0 ? [] : parseTokenIds('standard input', list.join(' '));
}

async function openTokenizer(file: string): Promise<Tokenizer> {
	return Tokenizer.fromGguf(await readHeader(file));
}
