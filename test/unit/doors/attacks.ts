// One attack for each door of the engine: what a client sends, what lies on the disk and what comes over the network.
// Each call is one try. It does not matter whether the try fails or succeeds, only that the engine and its other
// clients live on.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { ModelRole } from '../../../engine/protocol';
import { type RawValue, scalar, scalarTypes, withMetadata } from '../../support/gguf-edit';
import type { TestClient } from '../support/lsp-client';
import type { EngineProcess } from './engine-process';
import { type Chance, mutateGguf, mutateJson } from './mutate';

export interface Ground {
	engine: EngineProcess;
	/** A folder that is empty at first. */
	folder: string;
	/** The bytes of a model that works. */
	model: Buffer;
	/** The files, by name, of a Hugging Face folder that converts. */
	convertible: Record<string, Buffer>;
	/** The role whose model attacks may replace. */
	role: ModelRole;
	/** The file that HEARTH_CATALOGUE names. */
	catalogue: string;
	host: Host;
	/** The settings of the attacking clients. */
	settings: object;
	/** What is being waited for at this moment. It names what hangs. */
	waiting: Set<string>;
}

export type Attack = (ground: Ground, chance: Chance) => Promise<void>;

/** Sends a request and waits for its answer. Now and then the client hangs up instead of waiting. */
async function ask(
	{ waiting }: Ground,
	client: TestClient,
	method: string,
	params: unknown,
	chance: Chance,
): Promise<void> {
	const answer = client.connection.sendRequest(method, params).catch(() => {});
	if (chance.holds(0.05)) return;
	const what = `${method} ${JSON.stringify(params).slice(0, 500)}`;
	waiting.add(what);
	await answer;
	waiting.delete(what);
}

async function withClient(ground: Ground, work: (client: TestClient) => Promise<void>, settings = ground.settings) {
	const { client, socket } = await ground.engine.client(settings);
	try {
		await work(client);
	} catch {
		// The request was refused or the client hung up. Both are as they should be.
	} finally {
		socket.destroy();
	}
}

const URI = 'file:///work/a.js';
const TEXT = 'function add(a, b) {\n\treturn a + b;\n}\n\nconst sum = add(1, \n';

/** Requests and notifications whose parameters work. The attack damages them. */
function messages({ folder, role }: Ground): [method: string, params: object, isRequest: boolean][] {
	const textDocument = { uri: URI };
	const position = { line: 4, character: 19 };
	return [
		[
			'textDocument/didOpen',
			{ textDocument: { ...textDocument, languageId: 'javascript', version: 1, text: TEXT } },
			false,
		],
		[
			'textDocument/didChange',
			{
				textDocument: { ...textDocument, version: 2 },
				contentChanges: [{ range: { start: position, end: position }, text: 'x' }],
			},
			false,
		],
		['textDocument/didClose', { textDocument }, false],
		['textDocument/inlineCompletion', { textDocument, position, context: { triggerKind: 1 } }, true],
		[
			'textDocument/inlineCompletion',
			{
				...{ textDocument, position },
				context: {
					triggerKind: 2,
					selectedCompletionInfo: { range: { start: position, end: position }, text: 'abc' },
				},
			},
			true,
		],
		[
			'hearth/chat',
			{
				conversationId: 'c',
				messages: [
					{ role: 'user', content: 'Hello' },
					{ role: 'assistant', content: 'Hi' },
					{ role: 'user', content: 'How are you?' },
				],
				context: [{ label: 'a.js', languageId: 'javascript', text: TEXT }],
				...{ reasoningEffort: 'low', maxTokens: 4, temperature: 0.5, seed: 1, partialResultToken: 'p' },
			},
			true,
		],
		['hearth/forgetChat', { conversationId: 'c' }, true],
		['hearth/status', {}, true],
		[
			'hearth/listModels',
			{ folders: [path.join(folder, 'files')], downloadFolder: path.join(folder, 'downloads') },
			true,
		],
		[
			'hearth/loadModel',
			{ path: '/nowhere.gguf', role, memoryLimit: 'machine', settings: { contextTokens: 256 } },
			true,
		],
		['hearth/convertModel', { path: path.join(folder, 'nowhere'), workDoneToken: 'w' }, true],
		['hearth/downloadSize', { id: 'broken', network: { proxy: '', noProxy: ['*'] } }, true],
		['hearth/stopDownload', { id: 'broken', discard: true, folder: path.join(folder, 'downloads') }, true],
		// There is no benchmark: it takes all threads for seconds, which is what its caller wants.
		// The models stay as they are: a client that may choose others could end everyone's conversation on purpose.
		['workspace/didChangeConfiguration', { settings: { hearth: { completion: { maxTokens: 8 }, chat: {} } } }, false],
		['$/cancelRequest', { id: 1 }, false],
		['$/setTrace', { value: 'verbose' }, false],
		['window/workDoneProgress/cancel', { token: 'w' }, false],
		['textDocument/hover', { textDocument, position }, true],
	];
}

/** Sends wrong parameters of everything that a client can send. */
const parameters: Attack = (ground, chance) =>
	withClient(ground, async (client) => {
		await client.open(URI, TEXT);
		for (let i = 0; i < 40; i++) {
			const [method, params, isRequest] = chance.of(messages(ground));
			const damaged = chance.holds(0.8) ? mutateJson(params, chance) : params;
			// JSON-RPC itself forbids other kinds of parameters. The framing attack sends those.
			const sent = typeof damaged === 'object' && damaged !== null ? damaged : { value: damaged };
			if (isRequest) await ask(ground, client, method, sent, chance);
			else await client.connection.sendNotification(method, sent);
		}
	});

/** Sends damaged initialize requests. */
const handshakes: Attack = async (ground, chance) => {
	const socket = await ground.engine.connect();
	const params = {
		...{ processId: null, rootUri: null, workspaceFolders: [{ uri: 'file:///work', name: 'work' }] },
		...{ capabilities: { window: { workDoneProgress: true } }, initializationOptions: { settings: ground.settings } },
	};
	const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: mutateJson(params, chance) });
	const answered = new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
	socket.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
	ground.waiting.add(text.slice(0, 500));
	await answered;
	ground.waiting.delete(text.slice(0, 500));
	socket.destroy();
};

/** Sends bytes that are no messages. */
const framing: Attack = async (ground, chance) => {
	const socket = await ground.engine.connect();
	const body = '{"jsonrpc":"2.0","id":1,"method":"hearth/status","params":{}}';
	const pieces = [
		...['Content-Length: -1\r\n\r\n', 'Content-Length: 99999999999999999999\r\n\r\n', 'Content-Length: 1e3\r\n\r\n'],
		...[
			'Content-Length: 10\r\nContent-Length: 20\r\n\r\n',
			'Content-Length:\r\n\r\n',
			'\r\n\r\n',
			'\0'.repeat(500),
			'GET / HTTP/1.1\r\n\r\n',
		],
		...[
			`Content-Length: ${body.length}\r\n\r\n${body}`,
			`Content-Length: 2\r\n\r\n[]`,
			'Content-Length: 4\r\n\r\nnull',
		],
		...['Content-Length: 2147483647\r\n\r\n', `Content-Type: x; charset=utf-16\r\nContent-Length: 2\r\n\r\n{}`],
		...[
			'x'.repeat(100_000),
			`Content-Length: 5\r\n\r\n{"a":`,
			'Content-Length: 9\r\n\r\n{"id":{}}',
			'Content-Length: 3\r\n\r\n\xff\xfe\xfd',
		],
		`Content-Length: 60000\r\n\r\n${'['.repeat(60_000)}`,
	];
	for (let i = 1 + chance.below(4); i > 0 && !socket.destroyed; i--) socket.write(chance.of(pieces), 'latin1');
	await new Promise((resolve) => setTimeout(resolve, 5));
	socket.destroy();
};

const TEMPLATES = [
	"{% set ns = namespace(a='a') %}{% for i in range(40) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a | replace('a', 'bb') }}",
	"{% set ns = namespace(a='a') %}{% for i in range(28) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a.split('a') | length }}",
	'{% for i in range(1000000000) %}{{ i }}{% endfor %}',
	'{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}{% endfor %}',
	'{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}',
	'{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l | length }}',
	"{{ 'x' * 1000000000 }}",
	'{{ messages | tojson(indent=1000000000) }}',
	`${'('.repeat(50_000)}`,
	`{{ ${'['.repeat(5000)}1${']'.repeat(5000)} }}`,
	`{% if 1 %}`.repeat(5000),
	"{{ messages[0].constructor.constructor('return process')() }}",
	"{{ raise_exception('no') }}",
	'{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}',
];

/** An array that has only the number of its type and its count. The file does not hold its elements. */
function hollow(type: number, count: number): RawValue {
	const [array, elements] = [9, type].map((number) => scalar('u32', number).subarray(4));
	return Buffer.concat([array!, elements!, scalar('u64', count).subarray(4)]);
}

/** Writes a file whose few bytes claim large arrays. A hole in the file is as long as those arrays would be. */
function sparse(ground: Ground, file: string, chance: Chance): void {
	const { u8, i8, bool, f32, string } = scalarTypes;
	const type = chance.of([u8, i8, bool, f32, string]);
	const count = 2 ** (20 + chance.below(9));
	const arrays = Array.from({ length: 1 + chance.below(9) }, (_, i) => [`x.${i}`, hollow(type, count)]);
	writeFileSync(file, withMetadata(ground.model, Object.fromEntries(arrays)));
	truncateSync(file, Math.min(9 * count * 8, 2 ** 33));
}

function modelFile(ground: Ground, file: string, chance: Chance): void {
	const kind = chance.below(4);
	if (kind === 0) {
		sparse(ground, file, chance);
		return;
	}
	if (kind === 1) {
		const template = scalar('string', chance.of(TEMPLATES));
		writeFileSync(file, withMetadata(ground.model, { 'tokenizer.chat_template': template }));
		return;
	}
	if (kind === 2) {
		const keys = [
			...['general.name', 'general.architecture', 'tokenizer.ggml.model', 'tokenizer.ggml.pre', 'gpt-oss.block_count'],
			...[
				'gpt-oss.rope.freq_base',
				'gpt-oss.context_length',
				'tokenizer.ggml.eos_token_id',
				'tokenizer.ggml.bos_token_id',
			],
			...['tokenizer.ggml.padding_token_id', 'gpt-oss.attention.sliding_window', 'gpt-oss.expert_used_count'],
			...['tokenizer.ggml.token_type', 'tokenizer.ggml.merges', 'general.alignment', 'gpt-oss.rope.scaling.type'],
		];
		const values: (() => RawValue)[] = [
			() => scalar('u32', chance.of([0, 1, 401, 99_999, 2 ** 31, 2 ** 32 - 1])),
			() => scalar('f32', chance.of([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e30])),
			() => scalar('string', chance.of(['', 'x', 'llama', 'yarn', 'longrope', '\u{1f600}'.repeat(1000)])),
			() => hollow(scalarTypes.u32, 0),
		];
		writeFileSync(file, withMetadata(ground.model, { [chance.of(keys)]: chance.of(values)() }));
		return;
	}
	writeFileSync(file, mutateGguf(ground.model, chance));
}

/** Lists, loads and asks damaged, hostile and hollow model files, and changes them while the engine uses them. */
const files: Attack = async (ground, chance) => {
	const folder = path.join(ground.folder, 'files');
	rmSync(folder, { recursive: true, force: true });
	mkdirSync(folder, { recursive: true });
	const count = 1 + chance.below(4);
	for (let i = 0; i < count; i++) modelFile(ground, path.join(folder, `${i}.gguf`), chance);
	if (chance.holds(0.3)) symlinkSync('/dev/zero', path.join(folder, 'zero.gguf'));
	if (chance.holds(0.3)) symlinkSync(folder, path.join(folder, 'loop'));
	if (chance.holds(0.3)) execFileSync('mkfifo', [path.join(folder, 'fifo.gguf')]);
	if (chance.holds(0.3)) mkdirSync(path.join(folder, 'folder.gguf'));
	await withClient(ground, async (client) => {
		await ask(ground, client, 'hearth/listModels', { folders: [folder] }, chance);
		const file = path.join(folder, `${chance.below(count)}.gguf`);
		await ask(
			ground,
			client,
			'hearth/loadModel',
			{ path: file, role: ground.role, settings: { contextTokens: 256 } },
			chance,
		);
		await useModel(ground, client, chance);
		const damage = chance.below(4);
		if (damage === 0) truncateSync(file, chance.below(ground.model.length));
		if (damage === 1) writeFileSync(file, Buffer.alloc(ground.model.length, 0xa5), { flag: 'r+' });
		if (damage === 2) rmSync(file);
		await useModel(ground, client, chance);
	});
};

async function useModel(ground: Ground, client: TestClient, chance: Chance): Promise<void> {
	if (ground.role === 'completion') {
		await client.open(URI, TEXT);
		await ask(
			ground,
			client,
			'textDocument/inlineCompletion',
			{
				...{ textDocument: { uri: URI }, position: { line: 4, character: 19 }, context: { triggerKind: 1 } },
			},
			chance,
		);
		return;
	}
	const messages = [{ role: 'user', content: chance.of(['Hi', '<|im_start|>', 'x'.repeat(20_000)]) }];
	await ask(ground, client, 'hearth/chat', { conversationId: 'attack', messages, maxTokens: 4, seed: 1 }, chance);
}

/** Converts Hugging Face folders with damaged files, links, pipes and devices. */
const folders: Attack = async (ground, chance) => {
	const folder = path.join(ground.folder, 'convert', 'Model');
	rmSync(path.dirname(folder), { recursive: true, force: true });
	mkdirSync(folder, { recursive: true });
	const outside = path.join(ground.folder, 'outside.txt');
	writeFileSync(outside, 'nobody else reads this');
	const names = Object.keys(ground.convertible);
	for (const name of names) writeFileSync(path.join(folder, name), ground.convertible[name]!);
	for (let changes = chance.below(3); changes >= 0; changes--) {
		const name = chance.of([...names, 'chat_template.jinja', 'generation_config.json', 'tokenizer_config.json']);
		const file = path.join(folder, name);
		const kind = chance.below(6);
		// An earlier turn may have left a link here. Nothing may be written through it.
		rmSync(file, { force: true, recursive: true });
		if (kind === 0 && name.endsWith('.json') && names.includes(name)) {
			const value = JSON.parse(ground.convertible[name]!.toString());
			writeFileSync(file, JSON.stringify(mutateJson(value, chance)));
		}
		if (kind === 1) execFileSync('mkfifo', [file]);
		if (kind === 2) symlinkSync(chance.of(['/dev/zero', '/dev/full', '/proc/self/mem', outside, '.', name]), file);
		if (kind === 3) mkdirSync(file);
		if (kind === 4) {
			writeFileSync(file, '{');
			truncateSync(file, 2 ** 32);
		}
		if (kind === 5) writeFileSync(file, chance.of(['', 'null', '[]', '{}', '\0', '"'.repeat(1000)]));
	}
	const target = path.join(path.dirname(folder), 'Model.gguf');
	const foreign = 'a file of another origin';
	if (chance.holds(0.5)) writeFileSync(target, foreign);
	await withClient(ground, async (client) => {
		await ask(ground, client, 'hearth/convertModel', { path: folder, workDoneToken: 'w' }, chance);
	});
	// Whatever came of the conversion, files that Hearth did not make must stay.
	if (readFileSync(outside, 'utf8') !== 'nobody else reads this')
		throw new Error('a file behind a link was written to');
	const kept = readFileSync(target, { encoding: 'utf8', flag: 'a+' });
	if (kept.length === foreign.length && kept !== foreign) throw new Error('a file of another origin was replaced');
};

/** A host on this machine that answers as broken servers, proxies and sign-in pages do. */
export class Host {
	readonly #server: http.Server;
	readonly #chance: Chance;
	readonly #file: Buffer;

	private constructor(file: Buffer, chance: Chance) {
		this.#file = file;
		this.#chance = chance;
		this.#server = http.createServer((request, response) => {
			response.on('error', () => {});
			this.#answer(request, response);
		});
	}

	static async start(file: Buffer, chance: Chance): Promise<Host> {
		const host = new Host(file, chance);
		await new Promise<void>((resolve) => host.#server.listen(0, '127.0.0.1', resolve));
		return host;
	}

	get url(): string {
		return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/broken.gguf`;
	}

	async close(): Promise<void> {
		this.#server.closeAllConnections();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#answer(request: http.IncomingMessage, response: http.ServerResponse): void {
		const chance = this.#chance;
		const file = this.#file;
		const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
		switch (chance.below(9)) {
			case 0:
				response.writeHead(chance.of([200, 206, 404, 416, 429, 500, 503])).end('<html>Sign in</html>');
				return;
			case 1:
				response
					.writeHead(302, { location: chance.of(['/', 'http://127.0.0.1:9/x', 'file:///etc/passwd', '//', 'x:']) })
					.end();
				return;
			case 2:
				response.writeHead(200, { 'content-length': '99999999999999' }).write(file.subarray(0, 1000));
				response.socket?.end();
				return;
			case 3:
				response.writeHead(206, { 'content-range': 'bytes 5-1/0', etag: '"x"' }).end(file.subarray(0, 100));
				return;
			case 4:
				request.socket.destroy();
				return;
			case 5:
				response.writeHead(200, { etag: `W/"${'x'.repeat(5000)}"`, 'content-encoding': 'gzip' }).end('no gzip');
				return;
			default: {
				const headers = { etag: '"v1"', 'content-length': String(Math.max(0, file.length - start)) };
				const range = { 'content-range': `bytes ${start}-${file.length - 1}/${file.length}` };
				response.writeHead(start > 0 ? 206 : 200, { ...headers, ...(start > 0 && range) });
				response.write(file.subarray(start, start + Math.floor(file.length / 2)));
				response.socket?.end();
			}
		}
	}
}

/** Attacks catalogues, downloads, and the files that lie where downloads go. */
const downloads: Attack = async (ground, chance) => {
	const folder = path.join(ground.folder, 'downloads');
	if (chance.holds(0.2)) rmSync(folder, { recursive: true, force: true });
	mkdirSync(folder, { recursive: true });
	const entry = {
		...{ id: 'broken', name: 'Broken', summary: 'x', license: 'MIT', page: 'http://127.0.0.1/', uses: ['chat'] },
		...{
			architecture: 'gpt-oss',
			matrixTypes: ['MXFP4'],
			files: [{ url: ground.host.url, bytes: ground.model.length }],
		},
	};
	const catalogue = chance.holds(0.3) ? mutateJson({ models: [entry] }, chance) : { models: [entry] };
	writeFileSync(ground.catalogue, chance.holds(0.05) ? '{' : JSON.stringify(catalogue));
	const beside = path.join(
		folder,
		chance.of(['broken.gguf', 'broken.gguf.part', 'broken.gguf.lock', 'broken.gguf.part.lock']),
	);
	const kind = chance.below(6);
	if (kind < 3) rmSync(beside, { recursive: true, force: true });
	if (kind === 0) mkdirSync(beside);
	if (kind === 1)
		writeFileSync(
			beside,
			chance.of(['', '{}', '{"processId":1}', '{"processId":-1}', 'x'.repeat(ground.model.length)]),
		);
	if (kind === 2) symlinkSync(chance.of(['/dev/full', '/dev/zero', beside]), beside);
	await withClient(ground, async (client) => {
		const download = { id: 'broken', folder, network: { noProxy: ['*'] } };
		await ask(ground, client, 'hearth/listModels', { folders: [], downloadFolder: folder }, chance);
		await ask(ground, client, 'hearth/downloadSize', download, chance);
		await ask(ground, client, 'hearth/startDownload', download, chance);
		await ask(ground, client, 'hearth/status', {}, chance);
		await ask(ground, client, 'hearth/stopDownload', { ...download, discard: chance.holds(0.5) }, chance);
	});
};

export const attacks: Readonly<Record<string, Attack>> = { parameters, handshakes, framing, files, folders, downloads };
