// Downloads from a local host that makes every mistake that hosts make.
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import dns from 'node:dns';
import {
	existsSync,
	mkdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	symlinkSync,
	utimesSync,
	writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { kindOfAddress } from '../../../engine/models/address';
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
import { answers, drops, FileServer, type Misbehave } from '../../support/file-server';
import { temporaryFolder } from '../../support/models';
import { needs, unix } from '../../support/needs';

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

/** The whole file is there, and no other file of the download is left. */
function expectWhole(): void {
	expect(readFileSync(file).equals(DATA)).toBe(true);
	for (const end of ['.part', '.part.json', '.lock']) expect(existsSync(file + end), end).toBe(false);
}

/** The byte at which each request wanted to begin. */
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
		// The bytes that were on the way when a connection broke may be lost, but no more.
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
		// The host sends half of the file and then nothing, so the process is at work until it is killed.
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

describe('an answer in the file’s place', () => {
	const PAGE = Buffer.from('<!DOCTYPE html><title>Sign in</title>');
	/** Leaves a part of a million bytes, as a broken connection does. */
	async function leavePart(): Promise<Buffer> {
		server.misbehave.push(drops(server, 1_000_000), answers(404));
		await expect(fetchIt()).rejects.toThrow('404');
		const part = readFileSync(`${file}.part`);
		expect(part.length).toBeGreaterThan(500_000);
		server.requests.length = 0;
		states = [];
		return part;
	}
	const page = (headers: Record<string, string>, body: Buffer = PAGE, status = 200): Misbehave => {
		return (_request, response) => {
			response.writeHead(status, headers);
			response.end(body);
		};
	};
	const html = { 'content-type': 'text/html; charset=utf-8' };
	const whole = { 'content-length': String(DATA.length) };
	const range = (first: number, last: number, total: number | string = DATA.length) => ({
		'content-range': `bytes ${first}-${last}/${total}`,
	});

	test.each<[string, Misbehave]>([
		['of no announced length', page({})],
		['of no announced length, as a page', page(html)],
		['of no announced length and another tag', page({ etag: '"portal"' })],
		['of no announced length, longer than what is there', page(html, Buffer.alloc(2_000_000, 'x'))],
		['of no announced length, as long as the file', page({}, Buffer.alloc(DATA.length, 'x'))],
		['of no announced length, longer than the file', page({}, Buffer.alloc(DATA.length + 1, 'x'))],
		['that is empty', page({}, Buffer.alloc(0))],
		['of its own length', page({ ...html, 'content-length': String(PAGE.length) })],
		['that announces no byte', page({ 'content-length': '0' }, Buffer.alloc(0))],
		['of the file’s length and other bytes', page(whole, Buffer.alloc(DATA.length, 'x'))],
		['of the file’s length, as a page', page({ ...html, ...whole }, Buffer.alloc(DATA.length, 'x'))],
		[
			'of the file’s length that breaks',
			(_request, response) => {
				response.writeHead(200, { ...html, ...whole });
				response.write(Buffer.alloc(2_000_000, 'x'), () => response.socket?.end());
			},
		],
		[
			'of the file’s length that is no page and breaks',
			(_request, response) => {
				response.writeHead(200, whole);
				response.write(Buffer.alloc(2_000_000, 'x'), () => response.socket?.end());
			},
		],
		['that is packed', page({ 'content-encoding': 'gzip', ...whole }, Buffer.alloc(DATA.length))],
		['that is packed, of no length', page({ 'content-encoding': 'br' })],
		['in several parts', page({ 'content-type': 'multipart/byteranges; boundary=x' }, PAGE, 206)],
		['with the range of the beginning', page(range(0, 999), Buffer.alloc(1000), 206)],
		['with no range', page({}, PAGE, 206)],
		['with a range that is none', page({ 'content-range': 'pages 1-2/3' }, PAGE, 206)],
		['with a range without a file', page(range(0, 0, '*'), PAGE, 206)],
		['that refuses the range, of another length', page({ 'content-range': 'bytes */37' }, Buffer.alloc(0), 416)],
		['that refuses the range without a word', page({}, Buffer.alloc(0), 416)],
		['no content', page({}, Buffer.alloc(0), 204)],
	])('%s leaves what had arrived, which is continued', async (_what, answer) => {
		const part = await leavePart();
		const bad: Misbehave = (request, response, served) => answer(request, response, served);
		// The answer is always the same, as from a proxy.
		server.misbehave.push(...Array.from({ length: 30 }, () => bad));
		await expect(fetchIt()).rejects.toThrow(/^[^\n]+$/);
		expect(readFileSync(`${file}.part`).equals(part)).toBe(true);
		expect(existsSync(file) || existsSync(`${file}.part.new`)).toBe(false);
		server.misbehave.length = 0;
		server.requests.length = 0;
		await fetchIt();
		expectWhole();
		expect(ranges()).toEqual([`bytes=${part.length}-`]);
	});

	test('of no announced length does not become the file’s beginning', async () => {
		server.misbehave.push(page(html), page(html, Buffer.alloc(2_000_000, 'x')));
		await fetchIt();
		expectWhole();
		expect(starts()).toEqual([0, 0, 0]);
		expect([...waited()][0]).toContain('a sign-in page');
	});

	test('once, while a download resumes, is only waited over', async () => {
		const part = await leavePart();
		server.misbehave.push(page({}));
		await fetchIt();
		expectWhole();
		expect(starts()).toEqual([part.length, part.length]);
	});

	test('that says the rest belongs to another file makes it ask for all of it, and compare', async () => {
		const part = await leavePart();
		const rest = DATA.subarray(part.length);
		const other = { ...range(part.length, DATA.length - 1), etag: '"other"' };
		server.misbehave.push(page(other, Buffer.alloc(rest.length, 'x'), 206));
		await fetchIt();
		expectWhole();
		expect(starts()).toEqual([part.length, 0]);
	});

	test('that is a page and says to be the rest makes it ask for all of it', async () => {
		const part = await leavePart();
		const rest = { ...html, ...range(part.length, DATA.length - 1) };
		server.misbehave.push(page(rest, Buffer.alloc(DATA.length - part.length, 'x'), 206), page(html));
		await fetchIt();
		expectWhole();
		expect(starts().at(-1)).toBe(part.length);
	});

	test.each([{}, { 'last-modified': 'Sun, 29 Nov 2026 16:00:00 GMT' }])(
		'that is the rest without its tag (%j) is taken, and the tag asked with again',
		async (headers) => {
			const part = await leavePart();
			const { tag } = server;
			server.misbehave.push((_request, response) => {
				response.writeHead(206, { ...headers, ...range(part.length, DATA.length - 1) });
				response.write(DATA.subarray(part.length, part.length + 200_000), () => response.socket?.end());
			});
			await fetchIt();
			expectWhole();
			expect(server.requests.map((request) => request.headers['if-range'])).toEqual([tag, tag]);
			expect(starts()[1]).toBeGreaterThan(part.length);
		},
	);

	test('that names its version by a date alone is continued by that date', async () => {
		server.statesChecksum = false;
		const dated = { 'last-modified': 'Sun, 29 Nov 2026 16:00:00 GMT' };
		server.misbehave.push(
			(_request, response) => {
				response.writeHead(200, { ...dated, ...whole });
				response.write(DATA.subarray(0, 1_000_000), () => response.socket?.end());
			},
			(request, response) => {
				const first = Number(/\d+/.exec(request.headers.range ?? '')?.[0]);
				// The date says that this is another version, so the bytes that have arrived are no part of it.
				response.writeHead(206, { 'last-modified': 'Sun, 29 Nov 2026 17:00:00 GMT', ...range(first, DATA.length - 1) });
				response.end(Buffer.alloc(DATA.length - first, 'x'));
			},
		);
		await fetchIt();
		expectWhole();
		expect(server.requests[1]?.headers['if-range']).toBe(dated['last-modified']);
		expect(starts()[2]).toBe(0);
	});

	test('with a new tag for the same bytes costs no byte that is there', async () => {
		const part = await leavePart();
		server.misbehave.push(page({ ...whole, etag: '"from another machine"' }, DATA));
		const seen: number[] = [];
		await fetchIt({ onProgress: () => seen.push(statSync(`${file}.part`).size) });
		expectWhole();
		expect(Math.min(...seen)).toBe(part.length);
		expect(starts()).toEqual([part.length]);
	});

	test('of another version takes the part’s place once more of it is there', async () => {
		const unknown = { url: server.url, file, waits: WAITS };
		server.misbehave.push(drops(server, 1_000_000), answers(404));
		await expect(download(unknown)).rejects.toThrow('404');
		const old = readFileSync(`${file}.part`);
		server.file = randomBytes(2_500_000);
		server.misbehave.push(drops(server, 100_000), answers(404));
		await expect(download(unknown)).rejects.toThrow('404');
		expect(readFileSync(`${file}.part`).equals(old), 'less of it is no reason').toBe(true);
		server.misbehave.push((request, response, served) => {
			delete request.headers.range;
			drops(server, 2_000_000)(request, response, served);
		}, answers(404));
		await expect(download(unknown)).rejects.toThrow('404');
		const fresh = readFileSync(`${file}.part`);
		expect(fresh.length).toBeGreaterThan(old.length);
		expect(fresh.equals(server.file.subarray(0, fresh.length))).toBe(true);
		server.requests.length = 0;
		await download(unknown);
		expect(readFileSync(file).equals(server.file)).toBe(true);
		expect(ranges()).toEqual([`bytes=${fresh.length}-`]);
	});

	test('a part with wrong bytes in it is mended by an answer with all of the file', async () => {
		const part = await leavePart();
		part[400_000]! ^= 1;
		writeFileSync(`${file}.part`, part);
		server.ignoresRanges = true;
		await fetchIt();
		expectWhole();
	});

	test('a host that sends a piece of the rest each time is asked until it is whole', async () => {
		const part = await leavePart();
		const piece: Misbehave = (request, response) => {
			const first = Number(/\d+/.exec(request.headers.range ?? '')?.[0]);
			const last = Math.min(first + 999_999, DATA.length - 1);
			response.writeHead(206, { ...range(first, last), etag: server.tag });
			response.end(DATA.subarray(first, last + 1));
		};
		server.misbehave.push(piece, piece, piece);
		await fetchIt();
		expectWhole();
		expect(starts()).toEqual(starts().map((_start, i) => part.length + i * 1_000_000));
		expect(waited().size).toBe(0);
	});

	test('what is left of another catalogue’s address is continued where the checksum is the same', async () => {
		const part = await leavePart();
		await fetchIt({ url: server.url.replace('model.gguf', 'mirror/model.gguf') });
		expectWhole();
		expect(ranges()).toEqual([`bytes=${part.length}-`]);
		expect(server.requests[0]?.headers['if-range']).toBeUndefined();
	});

	test('a part of nobody knows what stays until the file itself comes', async () => {
		const part = await leavePart();
		writeFileSync(`${file}.part.json`, '{"url":');
		server.misbehave.push(page(html), answers(404));
		await expect(fetchIt()).rejects.toThrow('404');
		expect(readFileSync(`${file}.part`).equals(part)).toBe(true);
		await fetchIt();
		expectWhole();
	});

	test('a file that somebody else has put there meanwhile is not replaced', async () => {
		server.misbehave.push((_request, response) => {
			writeFileSync(file, 'theirs');
			void server.serve(_request, response);
		});
		await expect(fetchIt()).rejects.toThrow('is there already and is another file');
		expect(readFileSync(file, 'utf8')).toBe('theirs');
	});
});

describe('what is there already', () => {
	const whole = () => ({ file, sha256: server.sha256, bytes: DATA.length });
	const put = (data: Buffer) => {
		mkdirSync(path.dirname(file), { recursive: true });
		writeFileSync(file, data);
	};

	test('is verified before it counts, once', async () => {
		put(DATA);
		await fetchIt();
		expect(states.map(({ state }) => state)).toContain('checking');
		expect(server.requests.length).toBe(0);
		states = [];
		await fetchIt();
		expect(states).toEqual([]);
	});

	test.each(['other bytes', 'one other bit', 'zeros'])('with %s and the right size does not count', async (what) => {
		const other = what === 'zeros' ? Buffer.alloc(DATA.length) : Buffer.from(DATA);
		if (what !== 'zeros') other[DATA.length - 1]! ^= what === 'one other bit' ? 1 : 255;
		put(other);
		await expect(fetchIt()).rejects.toThrow('is there already and is another file');
		expect(readFileSync(file).equals(other)).toBe(true);
	});

	test('is verified again once it has changed', async () => {
		await fetchIt();
		const other = Buffer.from(DATA);
		other[7]! ^= 1;
		writeFileSync(file, other);
		utimesSync(file, 1, 1);
		await expect(fetchIt()).rejects.toThrow('is there already and is another file');
		writeFileSync(file, DATA);
		await fetchIt();
		expect(server.requests.length).toBe(1);
	});

	test('of a catalogue that knows no checksum is held against what the host states', async () => {
		put(DATA);
		await download({ url: server.url, file, waits: WAITS });
		expect(server.requests.map(({ method }) => method)).toEqual(['HEAD']);
		await download({ url: server.url, file, waits: WAITS });
		expect(server.requests.length).toBe(1);
		put(Buffer.alloc(DATA.length));
		await expect(download({ url: server.url, file, waits: WAITS })).rejects.toThrow('is another file');
	});

	test.each(['{', '[]', '{"bytes":3000000}', ''])('with %j for a note of it is verified again', async (note) => {
		put(DATA);
		writeFileSync(path.join(path.dirname(file), '.model.gguf.verified'), note);
		await fetchIt();
		expect(states.map(({ state }) => state)).toContain('checking');
		expect(whole().bytes).toBe(readFileSync(file).length);
	});

	test.each(['.part', '.part.json', '.part.new', '.part.new.json'])('a folder called %s is named', async (end) => {
		mkdirSync(file + end, { recursive: true });
		await expect(fetchIt()).rejects.toThrow(`${file}${end} is a folder and in the way; remove it`);
		expect(server.requests.length).toBe(0);
		expect(existsSync(`${file}.lock`)).toBe(false);
	});

	test.each(['.part', '.part.json', '.lock', ''])(
		'a pipe in place of the file%s is named and not waited for',
		needs(unix),
		async (end) => {
			mkdirSync(path.dirname(file), { recursive: true });
			execFileSync('mkfifo', [file + end]);
			await expect(fetchIt()).rejects.toThrow(`${file}${end}`);
		},
	);

	test.each(['a link', 'a pipe'])(
		'%s under the name of a file that is replaced is neither followed nor waited for',
		needs(unix),
		async (what) => {
			const victim = path.join(folder, 'victim');
			writeFileSync(victim, 'precious');
			mkdirSync(path.dirname(file), { recursive: true });
			for (const name of [
				`${file}.part.json.new`,
				path.join(path.dirname(file), `.${path.basename(file)}.verified.new`),
			]) {
				if (what === 'a link') symlinkSync(victim, name);
				else execFileSync('mkfifo', [name]);
			}
			await fetchIt();
			expectWhole();
			expect(readFileSync(victim, 'utf8')).toBe('precious');
		},
	);

	test('a link to nothing in place of the file stays', needs(unix), async () => {
		mkdirSync(path.dirname(file), { recursive: true });
		symlinkSync('/nowhere/model.gguf', file);
		await expect(fetchIt()).rejects.toThrow(`${file} is there already`);
		expect(readlinkSync(file)).toBe('/nowhere/model.gguf');
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
		// A content network’s address may not allow HEAD. The size that the first host states is enough.
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

	describe('from elsewhere to this machine or its network', () => {
		/** A host that seems to be public and encrypted. It is reached through a proxy, whatever its name is. */
		async function elsewhere(location: string, noProxy: string[] = []) {
			let asked = 0;
			const secure = https.createServer(CERTIFICATE, (_request, response) => {
				asked++;
				if (asked === 1) response.writeHead(302, { location }).end();
				else void server.serve(_request, response);
			});
			await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
			const { port } = secure.address() as AddressInfo;
			const proxy = http.createServer().on('connect', (_request, socket) => {
				socket.on('error', () => {});
				const upstream = net.connect(port, '127.0.0.1', () => {
					socket.write('HTTP/1.1 200 OK\r\n\r\n');
					upstream.pipe(socket).pipe(upstream);
				});
				upstream.on('error', () => socket.destroy());
			});
			await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
			const network = {
				...{ proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, strictTls: false, noProxy },
			};
			const close = () => {
				secure.closeAllConnections();
				secure.close();
				proxy.closeAllConnections();
				proxy.close();
			};
			return { network, close, port, asked: () => asked };
		}

		test.each([
			...['127.0.0.1', '127.9.9.9', '0.0.0.0', '0x7f000001', '2130706433', '127.1', 'localhost', 'x.localhost.'],
			...['10.0.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', '169.254.169.254', '224.0.0.1', '255.255.255.255'],
			...['[::1]', '[::]', '[fe80::1]', '[fd00::1]', '[fec0::1]', '[ff02::1]', '[::ffff:127.0.0.1]', '[::ffff:a00:1]'],
			...['[::127.0.0.1]', '[64:ff9b::192.168.0.1]', '[2002:7f00:1::]'],
		])('%s are refused', async (host) => {
			const { network, close, asked } = await elsewhere(`https://${host}/model.gguf`);
			await expect(fetchIt({ url: 'https://models.example/model.gguf', network })).rejects.toThrow(
				/^models\.example sends us on to .*it is not asked$/,
			);
			expect(asked()).toBe(1);
			close();
		});

		test.each([['127.0.0.1'], ['10.1.2.3'], ['93.184.216.34', '127.0.0.1'], ['::1'], ['::ffff:10.0.0.1'], ['fd12::1']])(
			'by a name that leads to %s are refused, too',
			async (...addresses) => {
				const { network, close, asked } = await elsewhere('https://rebound.example/model.gguf', ['rebound.example']);
				const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
				vi.spyOn(dns, 'lookup').mockImplementation(((
					_name: string,
					_options: unknown,
					done: (...args: unknown[]) => void,
				) => done(null, found)) as never);
				await expect(fetchIt({ url: 'https://models.example/model.gguf', network })).rejects.toThrow(
					/^models\.example sends us on to rebound\.example, which is .*it is not asked$/,
				);
				expect(asked()).toBe(1);
				expect(
					states.some(({ state }) => state === 'waiting'),
					'it is no fault that passes',
				).toBe(false);
				close();
			},
		);

		test('are followed from a host that is there itself, by its address or its name', async () => {
			const { close, port } = await elsewhere('/elsewhere.gguf');
			const options = { network: { strictTls: false } };
			await fetchIt({ ...options, url: `https://127.0.0.1:${port}/model.gguf` });
			expectWhole();
			rmSync(file);
			const other = await elsewhere(`https://127.0.0.1:${port}/elsewhere.gguf`);
			vi.spyOn(dns, 'lookup').mockImplementation(((
				_name: string,
				_options: unknown,
				done: (...args: unknown[]) => void,
			) => done(null, [{ address: '127.0.0.1', family: 4 }])) as never);
			await fetchIt({ ...options, url: `https://mirror.example:${other.port}/model.gguf` });
			expectWhole();
			other.close();
			close();
		});

		test.each(['https://10.0.0.1/m', 'https://169.254.169.254/m', 'https://[fe80::1]/m', 'https://0.0.0.0/m'])(
			'a host on this machine leads no further than this machine: not to %s',
			async (location) => {
				server.misbehave.push(answers(302, { location }));
				await expect(fetchIt()).rejects.toThrow('it is not asked');
			},
		);

		test('no public address is taken for one of these', () => {
			const addresses = [
				'8.8.8.8',
				'172.32.0.1',
				'100.128.0.1',
				'11.0.0.1',
				'192.167.1.1',
				'223.255.255.255',
				'198.18.0.1',
			];
			addresses.push('2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808', '2002:808:808::', '2a00::1');
			expect(addresses.filter((address) => kindOfAddress(address) !== 'public')).toEqual([]);
			expect(kindOfAddress('models.example')).toBeUndefined();
		});
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
		const place = path.join(folder, 'a-file');
		await expect(fetchIt({ file: path.join(place, 'model.gguf') })).rejects.toThrow(
			`the folder ${place} cannot be made`,
		);
	});
});

describe('a proxy', () => {
	/** A proxy that notes its requests. It refuses them, or connects to the port `target`. */
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
