// Downloads from a local host that does everything wrong that hosts do.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
	type DownloadOptions,
	type DownloadProgress,
	discardPart,
	download,
	partialBytes,
	remoteSize,
} from '../../../engine/models/download';
import { LockedError } from '../../../engine/models/lock';
import { CERTIFICATE } from '../../support/certificate';
import { answers, drops, FileServer } from '../../support/file-server';
import { temporaryFolder } from '../../support/models';

const folder = temporaryFolder();
const DATA = randomBytes(3_000_000);
const WAITS = { stall: 1500, retry: 1, longestRetry: 5, longestBusy: 2000 };

let server: FileServer;
let file: string;
let number = 0;
let states: DownloadProgress[];

beforeEach(async () => {
	server = await FileServer.start(DATA);
	file = path.join(folder, `${number++}`, 'model.gguf');
	states = [];
});
afterEach(async () => {
	vi.restoreAllMocks();
	await server.close();
});

function fetchIt(options: Partial<DownloadOptions> = {}): Promise<void> {
	return download({
		...{ url: server.url, file, bytes: DATA.length, sha256: server.sha256, waits: WAITS },
		onProgress: (progress) => states.push(progress),
		...options,
	});
}

/** Everything of the download, and nothing of it left over. */
function expectWhole(): void {
	expect(readFileSync(file).equals(DATA)).toBe(true);
	for (const end of ['.part', '.part.json', '.lock']) expect(existsSync(file + end), end).toBe(false);
}

/** Where each request wanted to begin. */
const starts = () => server.requests.map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0));
const ranges = () => server.requests.map(({ range }) => range);
const waited = () => new Set(states.filter(({ state }) => state === 'waiting').map(({ message }) => message));

describe('a download', () => {
	test('arrives whole, reports its progress and tells the host nothing but the file’s name', async () => {
		await fetchIt();
		expectWhole();
		expect(states[0]).toMatchObject({ state: 'connecting', receivedBytes: 0, totalBytes: DATA.length });
		expect(states.at(-1)).toEqual({ state: 'downloading', receivedBytes: DATA.length, totalBytes: DATA.length });
		const [{ headers } = { headers: {} }] = server.requests;
		expect(Object.keys(headers).sort()).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent']);
		await fetchIt();
		expect(server.requests.length, 'what is there is not fetched again').toBe(1);
	});

	test('without a known size and checksum is verified against what the host states; without that it is refused', async () => {
		const { bytes: _bytes, sha256: _sha256, ...unknown }: DownloadOptions = { url: server.url, file, waits: WAITS };
		expect(await remoteSize(server.url, {})).toBe(DATA.length);
		await download(unknown);
		expectWhole();
		rmSync(file);
		server.statesChecksum = false;
		await expect(download(unknown)).rejects.toThrow('states no checksum');
		expect(existsSync(file)).toBe(false);
	});

	test('small files are verified by Git’s name of them', async () => {
		const text = Buffer.from('{"model_type":"eagle3"}\n');
		const name = createHash('sha1').update(`blob ${text.length}\0`).update(text).digest('hex');
		const serve = (body: Buffer) =>
			server.misbehave.push((_request, response) => response.writeHead(200, { etag: `"${name}"` }).end(body));
		const options = { url: server.url, file, bytes: text.length, waits: WAITS };
		serve(Buffer.from('{"model_type":"eagle4"}\n'));
		await expect(download(options)).rejects.toThrow('damaged or changed');
		serve(text);
		await download(options);
		expect(readFileSync(file, 'utf8')).toBe(String(text));
	});
});

describe('what breaks off is continued', () => {
	test('after drops, from where it was', async () => {
		server.misbehave.push(drops(server, 1_000_000), drops(server, 500_000), (request) => request.socket.destroy());
		await fetchIt();
		expectWhole();
		// What was on the way when a connection broke may be lost, but no more.
		const [whole, first = 0, second = 0, third] = starts();
		expect(whole).toBe(0);
		expect(first).toBeGreaterThan(500_000);
		expect(second).toBeGreaterThan(first);
		expect(third).toBe(second);
		expect([...waited()].every((message) => /broke|ended early/.test(message ?? ''))).toBe(true);
		expect(server.requests.slice(1).every(({ headers }) => headers['if-range'] === server.tag)).toBe(true);
	});

	test('after a host that ends early and calls it the end', async () => {
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { etag: server.tag });
			response.end(DATA.subarray(0, 700_000));
		});
		await fetchIt();
		expectWhole();
		expect([...waited()][0]).toContain('ended early');
	});

	test('after a host that stops sending', async () => {
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { etag: server.tag, 'content-length': String(DATA.length) });
			response.write(DATA.subarray(0, 400_000));
		});
		await fetchIt();
		expectWhole();
		expect([...waited()][0]).toContain('has stopped sending');
		expect(starts()[1]).toBe(400_000);
	});

	test('in a later run, with what is there read back, once it was paused', async () => {
		const pause = new AbortController();
		server.bytesPerSecond = 2_000_000;
		await expect(
			fetchIt({
				signal: pause.signal,
				onProgress: ({ receivedBytes }) => receivedBytes > 500_000 && pause.abort(new Error('paused')),
			}),
		).rejects.toThrow('paused');
		const there = await partialBytes(file);
		expect(there).toBeGreaterThan(500_000);
		expect(existsSync(`${file}.lock`)).toBe(false);
		server.bytesPerSecond = undefined;
		await fetchIt();
		expectWhole();
		expect(states[0]).toMatchObject({ state: 'checking' });
		expect(ranges().at(-1)).toBe(`bytes=${there}-`);
	});

	test('after its process was killed', async () => {
		// Half of the file, and then silence: it is at work for as long as it lives.
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { etag: server.tag, 'content-length': String(DATA.length) });
			response.write(DATA.subarray(0, DATA.length >> 1));
		});
		const script = path.join(folder, 'child.cjs');
		await build({
			...{ bundle: true, platform: 'node', format: 'cjs', outfile: script, logLevel: 'error' },
			stdin: {
				resolveDir: import.meta.dirname,
				contents: `import { download } from '../../../engine/models/download';
					download({ url: ${JSON.stringify(server.url)}, file: ${JSON.stringify(file)}, sha256: '${server.sha256}' });`,
			},
		});
		const child = spawn(process.execPath, [script], { stdio: 'inherit' });
		const exited = new Promise((resolve) => child.once('exit', resolve));
		while ((await partialBytes(file)) < 500_000) await new Promise((resolve) => setTimeout(resolve, 20));
		await expect(fetchIt()).rejects.toThrow(LockedError);
		child.kill('SIGKILL');
		await exited;
		await fetchIt();
		expectWhole();
		expect(ranges().at(-1)).toMatch(/^bytes=\d{6,}-$/);
	});

	test('and one whose last byte had arrived is only verified', async () => {
		server.misbehave.push(drops(server, 1_000_000), answers(404));
		await expect(fetchIt()).rejects.toThrow('404');
		writeFileSync(`${file}.part`, DATA);
		await fetchIt();
		expectWhole();
		expect(server.requests.length).toBe(2);
	});
});

describe('a host that does not play along', () => {
	test('ignores ranges: all of it is taken again', async () => {
		server.misbehave.push(drops(server, 1_000_000));
		server.ignoresRanges = true;
		await fetchIt();
		expectWhole();
		expect(starts()[1]).toBeGreaterThan(0);
	});

	test('has another file there by now: the part is not mixed with it', async () => {
		server.misbehave.push(drops(server, 1_000_000), (_request, response) => response.destroy());
		const unknown = { url: server.url, file, waits: WAITS };
		const pause = new AbortController();
		await expect(
			download({ ...unknown, signal: pause.signal, onProgress: ({ state }) => state === 'waiting' && pause.abort() }),
		).rejects.toThrow();
		server.file = randomBytes(2_000_000);
		await download(unknown);
		expect(readFileSync(file).equals(server.file)).toBe(true);
	});

	test('serves wrong bytes: they are deleted, and the next try is from the beginning', async () => {
		const wrong = Buffer.from(DATA);
		wrong[1_234_567]! ^= 1;
		server.misbehave.push((request, response) => void server.serve(request, response, wrong));
		await expect(fetchIt()).rejects.toThrow('arrived damaged or changed on the way');
		expect(existsSync(file) || existsSync(`${file}.part`)).toBe(false);
		await fetchIt();
		expectWhole();
	});

	test.each([DATA.length - 1, DATA.length + 1])(
		'announces %d bytes: refused before anything is written',
		async (length) => {
			server.misbehave.push((_request, response) => {
				response.writeHead(200, { 'content-length': String(length) }).flushHeaders();
			});
			await expect(fetchIt()).rejects.toThrow(`has ${length} bytes and not ${DATA.length}`);
			expect(await partialBytes(file)).toBe(0);
		},
	);

	test('sends more than it announced', async () => {
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { etag: server.tag });
			response.end(Buffer.concat([DATA, Buffer.alloc(10)]));
		});
		await expect(fetchIt()).rejects.toThrow('sends more than');
		expect(existsSync(file)).toBe(false);
	});

	test('sends another part than was asked for', async () => {
		server.misbehave.push(drops(server, 1_000_000), (_request, response) => {
			response.writeHead(206, { 'content-range': `bytes 0-${DATA.length - 1}/${DATA.length}` }).end(DATA);
		});
		await expect(fetchIt()).rejects.toThrow('another part of the file');
		await fetchIt();
		expectWhole();
	});

	test('states another checksum than the catalogue knows', async () => {
		await expect(fetchIt({ sha256: 'a'.repeat(64) })).rejects.toThrow('its publisher has changed it');
	});

	test.each([
		[404, 'no such file any more (404)'],
		[410, 'no such file any more (410)'],
		[403, 'refuses the file (403)'],
		[401, 'refuses the file (401)'],
		[418, 'answers 418'],
	])('answers %d: it ends at once with the reason', async (status, reason) => {
		server.misbehave.push(answers(status));
		await expect(fetchIt()).rejects.toThrow(reason);
		expect(server.requests.length).toBe(1);
	});

	test('is busy: it is asked again after the time it names', async () => {
		server.misbehave.push(answers(429, { 'retry-after': '1' }), answers(503), answers(500));
		const began = performance.now();
		await fetchIt();
		expectWhole();
		// Timers may be early by a millisecond.
		expect(performance.now() - began).toBeGreaterThanOrEqual(990);
		expect([...waited()].map((message) => message?.replace(/.* is/, 'is'))).toEqual([
			'is busy (429)',
			'is busy (503)',
			'is busy (500)',
		]);
	});

	test('is busy for longer than anyone waits, or always', async () => {
		server.misbehave.push(answers(429, { 'retry-after': '86400' }));
		await expect(fetchIt()).rejects.toThrow('is busy (429)');
		expect(server.requests.length).toBe(1);
		server.misbehave.push(...Array.from({ length: 20 }, () => answers(503)));
		await expect(fetchIt()).rejects.toThrow('is busy (503)');
		expect(server.requests.length).toBe(9);
	});
});

describe('redirects', () => {
	test('are followed, and the first host’s word on the file holds', async () => {
		const linked = { 'x-linked-etag': `"${server.sha256}"`, 'x-linked-size': String(DATA.length) };
		server.misbehave.push(answers(302, { ...linked, location: '/elsewhere' }));
		server.statesChecksum = false;
		await download({ url: server.url, file, waits: WAITS });
		expectWhole();
		expect(server.requests.map(({ url }) => url)).toEqual(['/model.gguf', '/elsewhere']);
		// A content network’s address may allow no HEAD: what the first host says is enough.
		server.misbehave.push(answers(302, { ...linked, location: '/elsewhere' }));
		expect(await remoteSize(server.url, {})).toBe(DATA.length);
		expect(server.requests.length).toBe(3);
	});

	test.each([
		['/model.gguf', 'in a circle'],
		['http://models.example/model.gguf', 'not encrypted'],
		['ftp://models.example/model.gguf', 'not encrypted'],
		['file:///etc/passwd', 'not encrypted'],
		['http://[', 'but not where to'],
	])('to %s are not', async (location, reason) => {
		server.misbehave.push(answers(302, { location }));
		await expect(fetchIt()).rejects.toThrow(reason);
		expect(existsSync(`${file}.part`)).toBe(false);
	});

	test('without end end', async () => {
		for (let i = 0; i < 20; i++) server.misbehave.push(answers(307, { location: `/${i}` }));
		await expect(fetchIt()).rejects.toThrow('more than 10 times');
	});

	test('an address that is not encrypted is not asked at all', async () => {
		await expect(fetchIt({ url: 'http://models.example/model.gguf' })).rejects.toThrow('only https addresses');
	});
});

describe('this machine', () => {
	test('a disk without room is told before the first byte', async () => {
		await expect(fetchIt({ bytes: 2 ** 52, sha256: 'a'.repeat(64), url: server.url })).rejects.toThrow();
		server.misbehave.push((_request, response) => {
			response.writeHead(200, { 'content-length': String(2 ** 52) }).flushHeaders();
		});
		await expect(fetchIt({ bytes: 2 ** 52 })).rejects.toThrow(/the disk of .* is too full/);
		expect(await partialBytes(file)).toBe(0);
	});

	test('a disk that fills up meanwhile keeps what there is, and the download goes on once there is room', async () => {
		const handle = await open(import.meta.filename);
		const prototype = Object.getPrototypeOf(handle);
		await handle.close();
		const write = prototype.write;
		let written = 0;
		vi.spyOn(prototype, 'write').mockImplementation(async function (this: unknown, ...args: unknown[]) {
			if (written > 1_000_000) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
			const result = await write.apply(this, args);
			written += result.bytesWritten;
			return result;
		});
		await expect(fetchIt()).rejects.toThrow(/the disk is full .*; free some space and resume/);
		const there = await partialBytes(file);
		expect(there).toBe(written);
		vi.restoreAllMocks();
		await fetchIt();
		expectWhole();
		expect(ranges().at(-1)).toBe(`bytes=${there}-`);
	});

	test('a part of something else is not continued', async () => {
		await fetchIt();
		rmSync(file);
		for (const state of ['', '{"url":', '{}', JSON.stringify({ url: 'https://other.example/', bytes: 9 })]) {
			writeFileSync(`${file}.part`, 'something else');
			writeFileSync(`${file}.part.json`, state);
			await fetchIt();
			expectWhole();
			expect(ranges().at(-1)).toBe(undefined);
			rmSync(file);
		}
	});

	test('a damaged part is found by the checksum', async () => {
		server.misbehave.push(drops(server, 1_000_000));
		const pause = new AbortController();
		const paused = {
			signal: pause.signal,
			onProgress: ({ state }: DownloadProgress) => state === 'waiting' && pause.abort(),
		};
		await expect(fetchIt(paused as Partial<DownloadOptions>)).rejects.toThrow();
		const part = readFileSync(`${file}.part`);
		part[5]! ^= 1;
		writeFileSync(`${file}.part`, part);
		await expect(fetchIt()).rejects.toThrow('damaged');
		await fetchIt();
		expectWhole();
	});

	test('another file of that name is not overwritten', async () => {
		await fetchIt();
		writeFileSync(file, 'mine');
		await expect(fetchIt()).rejects.toThrow('is another file');
		expect(readFileSync(file, 'utf8')).toBe('mine');
	});

	test('what has arrived can be thrown away', async () => {
		server.misbehave.push(drops(server, 1_000_000), answers(404));
		await expect(fetchIt()).rejects.toThrow('404');
		expect(await partialBytes(file)).toBeGreaterThan(0);
		await discardPart(file);
		expect(await partialBytes(file)).toBe(0);
		expect(existsSync(`${file}.part.json`)).toBe(false);
	});

	test('two at once: one downloads, the other is told so', async () => {
		server.bytesPerSecond = 10_000_000;
		const results = await Promise.allSettled([fetchIt(), fetchIt(), fetchIt()]);
		expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
		for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(LockedError);
		expectWhole();
	});

	test('a lock that a killed process left, or a broken one, is no hindrance', async () => {
		await fetchIt();
		for (const lock of [JSON.stringify({ processId: 2 ** 22 + 1, token: 'x' }), '{"proc']) {
			rmSync(file);
			writeFileSync(`${file}.lock`, lock);
			if (!lock.endsWith('}')) {
				const handle = await open(`${file}.lock`);
				await handle.utimes(0, 0);
				await handle.close();
			}
			await fetchIt();
			expectWhole();
		}
	});

	test('a cancelled one leaves nothing running', async () => {
		const cancel = new AbortController();
		cancel.abort(new Error('cancelled'));
		await expect(fetchIt({ signal: cancel.signal })).rejects.toThrow('cancelled');
		expect(server.requests.length).toBe(0);
		const waiting = new AbortController();
		server.misbehave.push(answers(503, { 'retry-after': '2' }));
		await expect(
			fetchIt({
				signal: waiting.signal,
				onProgress: ({ state }) => state === 'waiting' && waiting.abort(new Error('stop')),
			}),
		).rejects.toThrow('stop');
	});

	test('a folder that cannot be written to is named', async () => {
		writeFileSync(path.join(folder, 'a-file'), '');
		await expect(fetchIt({ file: path.join(folder, 'a-file', 'model.gguf') })).rejects.toThrow('a-file');
	});
});

describe('a proxy', () => {
	/** Notes what it is asked for and refuses it, or connects to where `target` says. */
	async function startProxy(target?: number) {
		const asked: { url: string; authorization: string | undefined }[] = [];
		const proxy = http.createServer();
		proxy.on('connect', (request, socket) => {
			asked.push({ url: request.url ?? '', authorization: request.headers['proxy-authorization'] });
			socket.on('error', () => {});
			if (target === undefined) {
				socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
				return;
			}
			const upstream = net.connect(target, '127.0.0.1', () => {
				socket.write('HTTP/1.1 200 OK\r\n\r\n');
				upstream.pipe(socket).pipe(upstream);
			});
			upstream.on('error', () => socket.destroy());
		});
		await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
		return { asked, url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, close: () => proxy.close() };
	}
	const elsewhere = { url: 'https://models.example/model.gguf', sha256: 'a'.repeat(64) };

	test('of the settings is used, with its password and not for its exceptions', async () => {
		const proxy = await startProxy();
		const network = { proxy: proxy.url, proxyAuthorization: 'Basic c2VjcmV0' };
		await expect(fetchIt({ ...elsewhere, network })).rejects.toThrow('name and a password');
		expect(proxy.asked).toEqual([{ url: 'models.example:443', authorization: 'Basic c2VjcmV0' }]);
		await expect(fetchIt({ ...elsewhere, network: { ...network, noProxy: ['models.example'] } })).rejects.toThrow(
			'cannot be found',
		);
		await fetchIt({ network });
		expectWhole();
		expect(proxy.asked.length, 'this machine is reached directly').toBe(1);
		proxy.close();
	});

	test('of the environment is used, unless the settings say otherwise', async () => {
		const proxy = await startProxy();
		vi.stubEnv('HTTPS_PROXY', proxy.url).stubEnv('https_proxy', proxy.url);
		await expect(fetchIt(elsewhere)).rejects.toThrow('name and a password');
		await expect(fetchIt({ ...elsewhere, network: { proxy: '' } })).rejects.toThrow('cannot be found');
		vi.stubEnv('NO_PROXY', 'models.example').stubEnv('no_proxy', 'models.example');
		await expect(fetchIt(elsewhere)).rejects.toThrow('cannot be found');
		vi.unstubAllEnvs();
		proxy.close();
	});

	test('carries an encrypted connection to the end, whose certificate is checked', async () => {
		const secure = https.createServer(CERTIFICATE, (request, response) => void server.serve(request, response));
		await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
		const proxy = await startProxy((secure.address() as AddressInfo).port);
		const options = { url: elsewhere.url, network: { proxy: proxy.url } };
		await expect(fetchIt(options)).rejects.toThrow(
			/the certificate of models.example is not trusted .*NODE_EXTRA_CA_CERTS/,
		);
		await fetchIt({ ...options, network: { ...options.network, strictTls: false } });
		expectWhole();
		expect(new Set(proxy.asked.map(({ url }) => url))).toEqual(new Set(['models.example:443']));
		secure.closeAllConnections();
		secure.close();
		proxy.close();
	});

	test('that is none is named', async () => {
		await expect(fetchIt({ network: { proxy: 'not an address' } })).rejects.toThrow(
			'the proxy not an address cannot be used',
		);
	});
});
