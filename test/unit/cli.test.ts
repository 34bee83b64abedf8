// The command line as its users call it: in its own process, with a tiny model made by itself and the real native
// addon.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmdirSync,
	rmSync,
	statSync,
	utimesSync,
	writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { BenchmarkReport, MemoryNeed, ModelList, SelfTestReport } from '../../engine/protocol';
import { VERSION } from '../../engine/version';
import { loadNative } from '../../native/index';
import { bundleCli } from '../support/cli';
import { FileServer } from '../support/file-server';
import { TestClient } from './support/lsp-client';

const root = path.join(__dirname, '..', '..');
let directory: string;
let hearth: string;
let model: string;

beforeAll(async () => {
	directory = mkdtempSync(path.join(os.tmpdir(), 'hearth-cli-'));
	model = path.join(directory, 'tiny.gguf');
	hearth = await bundleCli(directory);
	expect(await run(['synth', model, '--preset', 'tiny', '--context', '2048'])).toMatchObject({ code: 0 });
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function start(args: string[]): ChildProcess {
	const env = { ...process.env, HEARTH_NATIVE: path.join(root, 'dist', 'native', 'hearth.node') };
	return spawn(process.execPath, [hearth, ...args], { env, cwd: directory });
}

async function run(args: string[], input = ''): Promise<{ code: number | null; stdout: string; stderr: string }> {
	const child = start(args);
	let stdout = '';
	let stderr = '';
	child.stdout!.setEncoding('utf8').on('data', (chunk) => {
		stdout += chunk;
	});
	child.stderr!.setEncoding('utf8').on('data', (chunk) => {
		stderr += chunk;
	});
	child.stdin!.on('error', () => {}).end(input);
	const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
	return { code, stdout, stderr };
}

async function json<T>(args: string[], input = ''): Promise<T> {
	const { code, stdout, stderr } = await run([...args, '--json'], input);
	expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
	return JSON.parse(stdout) as T;
}

interface Generated {
	tokens: number[];
	text: string;
	stopReason: string;
	promptTokens: number;
	drafts: { proposed: number; accepted: number };
	timings: { milliseconds: number };
}

describe('hearth', () => {
	test('--version and --help', async () => {
		expect(await run(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
		const help = await run(['--help']);
		expect(help.code).toBe(0);
		for (const name of [
			'info',
			'tokenize',
			'detokenize',
			'logits',
			'generate',
			'bench',
			'profile',
			'selftest',
			'serve',
			'synth',
		]) {
			expect(help.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
			expect(await run([name, '--help'])).toMatchObject({
				code: 0,
				stdout: expect.stringMatching(new RegExp(`^usage: hearth ${name} `)),
				stderr: '',
			});
		}
	});

	test.each([
		[[], 'hearth: no command given (see "hearth --help")'],
		[['fly'], 'hearth: there is no command "fly" (see "hearth --help")'],
		[['constructor'], 'hearth: there is no command "constructor" (see "hearth --help")'],
		[['info'], 'hearth info: MODEL is missing (see "hearth info --help")'],
		[['info', 'a', 'b'], 'hearth info: unexpected argument "b" (see "hearth info --help")'],
		[['info', '--fast', 'a'], `hearth info: Unknown option '--fast' (see "hearth info --help")`],
		[['bench'], 'hearth bench: MODEL is missing (see "hearth bench --help")'],
		[
			['generate', 'm', '--prompt', 'x', '--backend', 'cuda'],
			'hearth generate: --backend takes auto, metal, cpu; not "cuda" (see "hearth generate --help")',
		],
		[
			['bench', '--count', '--backend', 'cpu'],
			'hearth bench: --count counts the launches of --backend metal (see "hearth bench --help")',
		],
		[['info', 'none.gguf'], 'hearth info: there is no file none.gguf'],
		[
			['info', '.'],
			'hearth info: . is a folder, not a GGUF file; Select Model… and "hearth convert" convert a Hugging Face folder',
		],
		[['convert', '.'], 'hearth convert: OUT.gguf is missing (see "hearth convert --help")'],
		[['convert', 'none', 'o.gguf'], 'hearth convert: none is no folder of a Hugging Face model: it lacks config.json'],
		[
			['convert', '.', 'o.gguf', '--type', 'q4'],
			'hearth convert: --type takes keep, f16, bf16, q8_0; not "q4" (see "hearth convert --help")',
		],
		[['generate', 'none.gguf', '--prompt', 'x'], 'hearth generate: there is no file none.gguf'],
		[
			['generate', 'm', '--prompt', 'x', '--tokens', '1'],
			'hearth generate: give one of --prompt, --prompt-file and --tokens (see "hearth generate --help")',
		],
		[
			['generate', 'm', '--prompt', 'x', '--max-tokens', 'many'],
			'hearth generate: --max-tokens takes an integer of at least 1, not "many" (see "hearth generate --help")',
		],
		[
			['generate', 'm', '--tokens', '1,x'],
			'hearth generate: --tokens: "x" is no token id (see "hearth generate --help")',
		],
		[
			['generate', 'm', '--prompt', 'x', '--temperature=-1'],
			'hearth generate: --temperature takes a number from 0 to 100, not "-1" (see "hearth generate --help")',
		],
		[['logits', 'm', '--out', 'o'], 'hearth logits: --tokens is missing (see "hearth logits --help")'],
		[
			['logits', 'm', '--tokens', '1', '--out', 'o', '--kernels', 'magic'],
			'hearth logits: --kernels takes auto, reference, portable, avx2, avx512, amx, neon; not "magic" (see "hearth logits --help")',
		],
		[['serve'], 'hearth serve: give either --stdio or --socket PATH (see "hearth serve --help")'],
	])('%j fails with one clear line', async (args, message) => {
		expect(await run(args)).toEqual({ code: 1, stdout: '', stderr: `${message}\n` });
	});

	test('a file that is no model is refused in one line that names it', async () => {
		const file = path.join(directory, 'text.gguf');
		writeFileSync(file, 'This is no model.\n'.repeat(100));
		for (const args of [
			['info', file],
			['generate', file, '--prompt', 'x'],
			['bench', file],
			['logits', file, '--tokens', '1', '--out', path.join(directory, 'never')],
		]) {
			const { code, stdout, stderr } = await run(args);
			expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
			expect(stderr).toMatch(/^hearth \w+: [^\n]*text\.gguf[^\n]*\n$/);
		}
		expect(statSync(path.join(directory, 'never'), { throwIfNoEntry: false })).toBeUndefined();
	});
});

describe('hearth selftest', () => {
	test('checks every kernel set, and says so in a report', async () => {
		const file = path.join(directory, 'selftest.md');
		const report = await json<SelfTestReport>(['selftest', '--quick', '--backend', 'cpu', '--save', file]);
		expect(report).toMatchObject({
			sizes: 'small',
			gpus: [{ id: 'metal', state: expect.stringMatching(/^(absent|untested)$/) }],
		});
		expect(report.kernels.filter(({ ok }) => !ok)).toEqual([]);
		const sets = new Set(report.kernels.map(({ set }) => set));
		expect([...sets]).toEqual(
			loadNative()
				.cpuInfo()
				.kernels.filter((set) => set !== 'reference'),
		);
		for (const { milliseconds, bytes } of report.kernels) expect(Math.min(milliseconds, bytes)).toBeGreaterThan(0);
		const kinds = ['a small model', 'a small dense model'];
		const checks = kinds.flatMap((kind) =>
			['', ', the same in steps of one token', ', the same in steps of 11 tokens'].map((how) => kind + how),
		);
		expect(report.models.map(({ what, ok }) => [what, ok])).toEqual(checks.map((what) => [what, true]));
		const markdown = readFileSync(file, 'utf8');
		expect(markdown).toMatch(/^# Hearth self-test\n\nAll \d+ checks of the CPU's .*portable kernels passed\./);
		expect(markdown).toMatch(/### The CPU's portable kernels\n\n\| kernel .*\n.*\n\| MXFP4 products +\|.*\| ok \|/);
	});

	test('asked for Metal where there is none, says why the CPU computes', async () => {
		const { code, stderr } = await run(['generate', model, '--prompt', 'x', '--max-tokens', '1', '--backend', 'metal']);
		expect(code).toBe(0);
		if (loadNative().devices()[0]?.onThisSystem === false) {
			expect(stderr).toBe('hearth: the CPU computes, not Metal: Metal is part of macOS only\n');
		}
	});
});

describe('hearth info', () => {
	test('tells what the file holds', async () => {
		const summary = await json<Record<string, unknown>>(['info', model]);
		expect(summary).toMatchObject({
			architecture: 'gpt-oss',
			contextLength: 2048,
			fileBytes: statSync(model).size,
			tokenizer: { model: 'gpt2', pre: 'gpt-4o' },
			hyperparameters: { block_count: 4, expert_count: 8 },
			backend: { name: 'cpu', kernels: expect.any(String) },
			chat: 'Harmony',
		});
		const types = summary['tensorTypes'] as { count: number; bytes: number }[];
		expect(types.reduce((sum, { count }) => sum + count, 0)).toBe(summary['tensorCount']);
		const { stdout } = await run(['info', model]);
		expect(stdout).toMatch(/^architecture +gpt-oss$/m);
		expect(stdout).toMatch(/^chat +Harmony$/m);
		expect(stdout).toMatch(/^ {2}MXFP4 +12 /m);
		expect(stdout).toMatch(/^attention.layer_norm_rms_epsilon +0.00001$/m);
		const alone = summary['memory'] as MemoryNeed;
		const { memory } = await json<{ memory: MemoryNeed }>(['info', model, '--draft', model]);
		expect(memory.totalBytes).toBe(alone.totalBytes + memory.draftBytes!);
		expect(memory.cacheBytes).toBe(2 * alone.cacheBytes);
		expect((await run(['info', model, '--draft', model])).stdout).toMatch(/^ {2}of it, the draft +[\d.]+ MB$/m);
		expect(stdout).not.toContain('the draft');
	});
});

describe('hearth generate', () => {
	test('gives the same tokens as text, file, standard input and ids', async () => {
		const prompt = 'function add(a, b) {';
		const file = path.join(directory, 'prompt.txt');
		writeFileSync(file, prompt);
		const ids = (await run(['tokenize', model], prompt)).stdout.trim();
		const limit = ['--max-tokens', '12', '--no-stop'];
		const results = [
			await json<Generated>(['generate', model, '--prompt', prompt, ...limit]),
			await json<Generated>(['generate', model, '--prompt-file', file, ...limit]),
			await json<Generated>(['generate', model, '--prompt', '-', ...limit], prompt),
			await json<Generated>(['generate', model, ...limit], prompt),
			await json<Generated>(['generate', model, '--tokens', ids, ...limit]),
		];
		for (const result of results) {
			expect(result.tokens).toEqual(results[0]!.tokens);
			expect(result).toMatchObject({ stopReason: 'length', promptTokens: ids.split(/\s+/).length });
			expect(result.timings.milliseconds).toBeGreaterThan(0);
		}
		expect(results[0]!.tokens.length).toBe(12);
		const { stdout, stderr } = await run(['generate', model, '--prompt', prompt, ...limit]);
		expect(stdout).toBe(`${results[0]!.text}\n`);
		expect(stderr).toBe('');
	});

	test('guessing ahead and the layout of the weights change no token', async () => {
		const prompt = 'one, two, three, '.repeat(12);
		const generate = (...options: string[]) =>
			json<Generated>(['generate', model, '--prompt', prompt, '--max-tokens', '60', '--no-stop', ...options]);
		const guessing = await generate();
		const plain = await generate('--no-speculation', '--no-repack');
		expect(guessing.tokens).toEqual(plain.tokens);
		expect(guessing.drafts.proposed).toBeGreaterThan(0);
		expect(plain.drafts).toEqual({ proposed: 0, accepted: 0 });
	});

	test('a seed repeats, another differs', async () => {
		const generate = (seed: string) =>
			json<Generated>(['generate', model, '--prompt', 'a', '--temperature', '1', '--seed', seed, '--max-tokens', '20']);
		const first = await generate('5');
		expect((await generate('5')).tokens).toEqual(first.tokens);
		expect((await generate('6')).tokens).not.toEqual(first.tokens);
	});

	test('--chat answers through Harmony', async () => {
		const result = await json<Generated & { reasoning: string }>([
			'generate',
			model,
			'--chat',
			...['--prompt', 'Hi', '--max-tokens', '10', '--seed', '1'],
		]);
		expect(result.promptTokens).toBeGreaterThan(50);
		expect(typeof result.reasoning).toBe('string');
	});

	test('a prompt longer than the context is one clear line', async () => {
		const { code, stderr } = await run(['generate', model, '--prompt', 'word '.repeat(3000)]);
		expect(code).toBe(1);
		expect(stderr).toMatch(
			/^hearth generate: the prompt has \d+ tokens, more than fit into the context of 2048;[^\n]*\n$/,
		);
	});

	test('an id outside the vocabulary is one clear line', async () => {
		const { code, stderr } = await run(['generate', model, '--tokens', '1,99999']);
		expect(code).toBe(1);
		expect(stderr).toMatch(/^hearth generate: [^\n]*99999[^\n]*\n$/);
	});

	test('ends quietly when nobody reads on, and on Ctrl-C', async () => {
		const args = ['generate', model, '--prompt', 'a', '--no-stop', '--max-tokens', '2000'];
		const piped = start(args);
		piped.stdout!.once('data', () => piped.stdout!.destroy());
		let stderr = '';
		piped.stderr!.on('data', (chunk) => {
			stderr += chunk;
		});
		expect(await new Promise((resolve) => piped.once('close', resolve))).toBe(0);
		const interrupted = start(args);
		interrupted.stdout!.once('data', () => interrupted.kill('SIGINT'));
		interrupted.stderr!.on('data', (chunk) => {
			stderr += chunk;
		});
		expect(await new Promise((resolve) => interrupted.once('close', resolve))).toBe(130);
		expect(stderr).toBe('');
	});
});

describe('hearth logits', () => {
	test('writes a row a position, whatever the rows a step, agreeing with what generate takes', async () => {
		const tokens = Array.from({ length: 70 }, (_, i) => (i * 37) % 600).join(',');
		const files = await Promise.all(
			['1', '7', '128'].map(async (batch) => {
				const out = path.join(directory, `logits-${batch}`);
				await json(['logits', model, '--tokens', tokens, '--out', out, '--batch', batch, '--threads', '1']);
				return readFileSync(out);
			}),
		);
		const { vocabularySize, rows } = await json<{ vocabularySize: number; rows: number }>([
			'logits',
			model,
			...['--tokens', tokens, '--out', path.join(directory, 'logits')],
		]);
		expect(rows).toBe(70);
		expect(files[0]!.length).toBe(70 * vocabularySize * 4);
		expect(files[1]!.equals(files[0]!)).toBe(true);
		expect(files[2]!.equals(files[0]!)).toBe(true);
		const last = Array.from({ length: vocabularySize }, (_, id) =>
			files[0]!.readFloatLE((69 * vocabularySize + id) * 4),
		);
		const generated = await json<Generated>(['generate', model, '--tokens', tokens, '--max-tokens', '1', '--no-stop']);
		expect(generated.tokens).toEqual([last.indexOf(Math.max(...last))]);
	});
});

describe('hearth bench', () => {
	const small = ['--prompt', '32', '--generate', '8', '--batch', '3', '--length', '5', '--repeat', '2'];

	test('prints a table, or the report as JSON', async () => {
		const report = await json<BenchmarkReport>(['bench', model, ...small]);
		expect(report.results.map(({ test }) => test)).toEqual(['load', 'load+forward', 'forward', 'pp32', 'tg8', 'b3x5']);
		for (const { test, tokensPerSecond, milliseconds } of report.results) {
			expect(milliseconds.mean).toBeGreaterThan(0);
			if (!test.startsWith('load')) expect(tokensPerSecond!.samples.length).toBe(2);
		}
		expect(report.memory.peakBytes).toBeGreaterThanOrEqual(report.memory.averageBytes);
		expect(report.model.fileBytes).toBe(statSync(model).size);
		const { stdout } = await run(['bench', model, ...small]);
		expect(stdout).toMatch(/^\| test +\| +t\/s \| +ms \| +GB\/s \| % of bandwidth \|/m);
		expect(stdout).toMatch(/^\| pp32 +\| +[\d.]+ ± [\d.]+ \| +[\d.]+ ± [\d.]+ \| +[\d.]+ \| +[\d.]+ \|/m);
	});
});

describe('hearth bench, kept and compared', () => {
	const few = ['--tests', 'tg,verify', '--generate', '8', '--repeat', '1'];

	test('a saved report is what --compare shows the speed over', async () => {
		const file = path.join(directory, 'saved.json');
		const report = await json<BenchmarkReport>(['bench', model, ...few, '--save', file]);
		expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(report);
		expect(report.results.map(({ test }) => test)).toEqual(['tg8', 'step1', 'verify8']);
		const tg = report.results[0]!;
		expect(tg.bytesPerToken).toBeGreaterThan(report.model.bytesPerToken);
		expect(tg.bandwidthShare).toBeGreaterThan(0);
		expect(report.ratios!['verify8 / step1']).toBeGreaterThan(0);
		const { stdout } = await run(['bench', model, ...few, '--no-repack', '--compare', file, '--markdown', '--bars']);
		expect(stdout).toMatch(/^- model: .*, weights as in the file$/m);
		expect(stdout).toMatch(/^\| test .* vs earlier \|$/m);
		expect(stdout).toMatch(/^\| verify step of 8 over a step of 1 +\| +[\d.]+ × \| +≤ 3\.30 × \| +(ok|short) \|$/m);
	});

	test.each([
		[
			['--tests', 'tg,speed'],
			'--tests takes load, forward, pp, tg, batch, depth, verify, edit, first-token; not "speed"',
		],
		[['--batch', '1,x'], '--batch takes an integer from 0 to 4096, not "x"'],
		[['--all', '--tests', 'tg'], 'give one of --all and --tests'],
		[['--json', '--markdown'], 'give one of --json and --markdown'],
	])('%j is refused in one line', async (args, message) => {
		expect(await run(['bench', model, ...args])).toEqual({
			...{ code: 1, stdout: '', stderr: `hearth bench: ${message} (see "hearth bench --help")\n` },
		});
	});

	test('a report that cannot be read or kept is said before anything is measured', async () => {
		const none = path.join(directory, 'none', 'report.json');
		expect((await run(['bench', model, '--compare', none])).stderr).toMatch(
			/^hearth bench: cannot compare with .*ENOENT.*\n$/,
		);
		expect((await run(['bench', model, '--save', none])).stderr).toMatch(/^hearth bench: cannot save to .*ENOENT.*\n$/);
		const other = path.join(directory, 'other.json');
		writeFileSync(other, '{"results": 1}');
		expect((await run(['bench', model, '--compare', other])).stderr).toBe(
			`hearth bench: cannot compare with ${other}: it is no benchmark report\n`,
		);
	});
});

describe('hearth profile', () => {
	test('tells the time of each operation, and writes a trace of every step', async () => {
		const out = path.join(directory, 'trace.json');
		const args = ['profile', model, '--prompt', '20', '--generate', '4', '--batch', '2', '--out', out];
		const { phases } = await json<{
			phases: { phase: string; rows: number; operations: { operation: string; share: number }[] }[];
		}>(args);
		expect(phases.map(({ phase, rows }) => [phase, rows])).toEqual([
			['prefill', 40],
			['decode', 6],
		]);
		for (const { operations } of phases) {
			expect(operations.map(({ operation }) => operation)).toEqual(
				expect.arrayContaining(['attention', 'experts', 'head', 'other']),
			);
			expect(operations.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 2);
		}
		const { traceEvents } = JSON.parse(readFileSync(out, 'utf8')) as {
			traceEvents: { cat?: string; ph: string; ts: number; dur: number; args: { rows: number } }[];
		};
		const steps = traceEvents.filter(({ cat }) => cat === 'step');
		expect(steps.map(({ args: { rows } }) => rows)).toEqual([40, 2, 2, 2]);
		for (const { ts, dur } of traceEvents.filter(({ cat }) => cat === 'operation')) {
			const end = ts + dur - 1e-3;
			expect(steps.some((step) => step.ts <= ts && end <= step.ts + step.dur)).toBe(true);
		}
		const { stdout } = await run(args);
		expect(stdout).toMatch(/^prefill: 1 steps, 40 rows, /m);
		expect(stdout).toMatch(/^\| experts +\|( +[\d.]+ \|){4}$/m);
		expect(stdout).toContain(`trace: ${out}\n`);
	});
});

describe('hearth serve', () => {
	test('talks LSP on standard input and output, and ends with its client', async () => {
		const child = start(['serve', '--stdio', '--model', model]);
		const client = new TestClient(child.stdout!, child.stdin!);
		await client.initialize();
		const status = await client.until(({ state }) => state === 'ready');
		expect(status.processId).toBe(child.pid);
		await client.connection.sendRequest('shutdown');
		await client.connection.sendNotification('exit');
		expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
		client.connection.dispose();
	});

	test('runs below normal priority with all that computes', async () => {
		const child = start(['serve', '--stdio', '--model', model, '--threads', '3']);
		const client = new TestClient(child.stdout!, child.stdin!);
		await client.initialize();
		await client.until(({ state }) => state === 'ready');
		// Whoever runs the tests may have lowered both priorities further, at any time.
		const { PRIORITY_BELOW_NORMAL: lowered } = os.constants.priority;
		expect(os.getPriority(child.pid)).toBeGreaterThanOrEqual(lowered);
		if (process.platform === 'linux') {
			// On Linux each thread has its own priority. Threads that started before JavaScript ran are the garbage
			// collector's.
			const threads = readdirSync(`/proc/${child.pid}/task`).map((id) => os.getPriority(Number(id)));
			expect(threads.filter((priority) => priority >= lowered).length).toBeGreaterThanOrEqual(1 + 2);
		}
		child.stdin!.destroy();
		await new Promise((resolve) => child.once('close', resolve));
		client.connection.dispose();
	});

	test('does not outlive a client that just goes', async () => {
		const child = start(['serve', '--stdio', '--model', model]);
		const client = new TestClient(child.stdout!, child.stdin!);
		await client.initialize();
		child.stdin!.destroy();
		expect(await new Promise((resolve) => child.once('close', resolve))).toBe(1);
		client.connection.dispose();
	});

	test('ends on SIGTERM in the middle of work', async () => {
		const child = start(['serve', '--stdio', '--model', model]);
		const client = new TestClient(child.stdout!, child.stdin!);
		await client.initialize();
		await client.until(({ state }) => state === 'ready');
		const params = { prompt: 1500, generate: 1500, batch: 20, length: 80, repeat: 100 };
		client.connection.sendRequest('hearth/benchmark', params).catch(() => {});
		await client.until(({ active }) => active.benchmark === 1);
		child.kill('SIGTERM');
		expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
		client.connection.dispose();
	});
});

describe('models', () => {
	test('hearth info says what the model takes and whether it runs', async () => {
		const at = async (...options: string[]) =>
			(await json<{ memory: { cacheBytes: number; fit: string }; problem?: string }>(['info', model, ...options]))
				.memory;
		const small = await at('--context', '512');
		expect(small.fit).toBe('fits');
		expect((await at('--context', '1024')).cacheBytes).toBe(2 * small.cacheBytes);
		expect((await at('--context', '512', '--cache-type', 'q8_0')).cacheBytes).toBeLessThan(0.6 * small.cacheBytes);
		const { stdout } = await run(['info', model]);
		expect(stdout).toMatch(/^runs here +yes$/m);
		expect(stdout).toMatch(/^memory +\d+ MB, of .* available: it fits$/m);
	});

	test('hearth models lists and hearth fetch gets what is missing', async () => {
		const server = await FileServer.start(readFileSync(model));
		const catalogue = path.join(directory, 'catalogue.json');
		const entry = {
			...{
				id: 'small',
				name: 'Small',
				summary: 's',
				page: 'https://x.example',
				uses: ['chat'],
				architecture: 'gpt-oss',
			},
			...{ matrixTypes: ['Q8_0'], license: 'MIT', files: [{ url: server.url, sha256: server.sha256 }] },
		};
		writeFileSync(catalogue, JSON.stringify({ models: [entry] }));
		// No other program keeps models in these folders.
		vi.stubEnv('HOME', directory)
			.stubEnv('XDG_DATA_HOME', '')
			.stubEnv('XDG_CACHE_HOME', '')
			.stubEnv('HEARTH_CATALOGUE', catalogue);
		for (const name of ['HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'LLAMA_CACHE', 'OLLAMA_MODELS'])
			vi.stubEnv(name, '');
		try {
			const to = path.join(directory, 'got');
			mkdirSync(to);
			const before = await json<ModelList>(['models', '--folder', to]);
			expect(before.found.filter(({ source }) => source !== 'ollama')).toEqual([]);
			const fetched = await run(['fetch', 'small', '--to', to]);
			expect(fetched).toMatchObject({ code: 0, stdout: `${path.join(to, 'model.gguf')}\n` });
			expect(fetched.stderr).toContain('licence MIT, from https://x.example');
			const after = await json<ModelList>(['models', '--folder', to]);
			expect(after.found).toContainEqual(
				expect.objectContaining({ name: 'tiny gpt-oss with random weights', source: 'folder', fit: 'fits' }),
			);
			const { stdout } = await run(['models', '--folder', to]);
			expect(stdout).toMatch(/^tiny gpt-oss with random weights +folder +gpt-oss /m);
			expect(stdout).toMatch(/^small +MIT +chat/m);
			// A lock file that is no lock is named at once. For a lock whose owner may live, the command waits until it is
			// stopped.
			const lock = path.join(directory, 'locked', 'model.gguf.lock');
			mkdirSync(lock, { recursive: true });
			expect(await run(['fetch', 'small', '--to', path.dirname(lock)])).toMatchObject({
				code: 1,
				stderr: expect.stringMatching(
					/hearth fetch: the lock .* cannot be used \(it is a folder\); remove it and try again\n$/,
				),
			});
			rmdirSync(lock);
			writeFileSync(lock, JSON.stringify({ processId: 1, machine: 'another one' }));
			utimesSync(lock, 1, 1);
			const waiting = start(['fetch', 'small', '--to', path.dirname(lock)]);
			await once(waiting.stderr!, 'data');
			waiting.kill('SIGTERM');
			// It ends by its own decision with 130, or by the signal when it had not come to look at the lock yet.
			expect([130, null]).toContain((await once(waiting, 'exit'))[0]);
			expect(existsSync(path.join(directory, 'locked', 'model.gguf'))).toBe(false);
			expect(await run(['fetch', 'other'])).toMatchObject({
				code: 1,
				stderr: 'hearth fetch: there is no model "other"; there are small\n',
			});
			expect((await run(['models', '--context', 'x'])).stderr).toContain('--context takes an integer');
		} finally {
			vi.unstubAllEnvs();
			await server.close();
		}
	});
});
