// The engine as it is shipped converts in a process of its own. The process ends with the engine and leaves nothing
// behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CancellationTokenSource, ProgressType } from 'vscode-jsonrpc';
import { bundleCli } from '../../support/cli';
import { temporaryFolder } from '../../support/models';
import { smallConfig, smallFolder, smallTensors } from '../../support/small-folder';
import { until } from '../../support/until';
import { TestClient } from '../support/lsp-client';

const folder = temporaryFolder();
const native = path.resolve(import.meta.dirname, '../../../dist/native/hearth.node');
let cli: string;
let engine: ChildProcess | undefined;

beforeAll(async () => {
	cli = await bundleCli(folder);
});

async function serve(): Promise<TestClient> {
	engine = spawn(process.execPath, [cli, 'serve', '--stdio'], {
		...{ env: { ...process.env, HEARTH_NATIVE: native }, stdio: ['pipe', 'pipe', 'inherit'] },
	});
	const client = new TestClient(engine.stdout!, engine.stdin!);
	await client.initialize();
	return client;
}

afterEach(async () => {
	if (!engine || engine.exitCode !== null || engine.signalCode !== null) return;
	const ended = new Promise((resolve) => engine!.once('close', resolve));
	engine.kill('SIGKILL');
	await ended;
});

const partials = () => readdirSync(folder).filter((name) => name.includes('partial'));

/** A folder whose conversion takes long enough to be interrupted. Its weights are all zeros. */
function largeFolder(name: string): string {
	const [width, rows] = [512, 1 << 16];
	const from = smallFolder(folder, name, {
		'config.json': {
			...smallConfig,
			hidden_size: width,
			intermediate_size: rows,
			head_dim: 64,
			num_key_value_heads: 2,
		},
	});
	let end = 0;
	const header: Record<string, object> = {};
	for (const tensor of Object.keys(smallTensors())) {
		const shape = /norm/.test(tensor)
			? [width]
			: /embed/.test(tensor)
				? [smallConfig.vocab_size, width]
				: /down/.test(tensor)
					? [width, rows]
					: /mlp/.test(tensor)
						? [rows, width]
						: /o_proj/.test(tensor)
							? [width, 128]
							: [128, width];
		const bytes = 4 * shape.reduce((product, length) => product * length, 1);
		header[tensor] = { dtype: 'F32', shape, data_offsets: [end, end + bytes] };
		end += bytes;
	}
	const json = Buffer.from(JSON.stringify(header));
	const prefix = Buffer.alloc(8);
	prefix.writeBigUInt64LE(BigInt(json.length));
	const file = path.join(from, 'model.safetensors');
	writeFileSync(file, Buffer.concat([prefix, json]));
	truncateSync(file, 8 + json.length + end);
	return from;
}

describe('a folder converted by the engine', () => {
	test('becomes a file, with progress, and another process has written it', async () => {
		const client = await serve();
		const from = smallFolder(folder, 'small');
		const seen: { kind: string; percentage?: number }[] = [];
		client.connection.onProgress(new ProgressType<{ kind: string }>(), 'token', (value) => void seen.push(value));
		const request = client.connection.sendRequest('hearth/convertModel', { path: from, workDoneToken: 'token' });
		expect(await request).toEqual({ path: `${from}.gguf`, draftHead: false });
		expect(seen.at(0)).toMatchObject({ kind: 'begin' });
		expect(seen.at(-2)).toMatchObject({ kind: 'report', percentage: 100 });
		expect(seen.at(-1)).toMatchObject({ kind: 'end' });
		const { ino } = statSync(`${from}.gguf`);
		expect(await client.connection.sendRequest('hearth/convertModel', { path: from })).toMatchObject({
			...{ path: `${from}.gguf` },
		});
		expect(statSync(`${from}.gguf`).ino).toBe(ino);

		const { 'config.json': file } = { 'config.json': path.join(from, 'config.json') };
		writeFileSync(file, readFileSync(file, 'utf8').replace('silu', 'gelu'));
		const wrong = client.connection.sendRequest('hearth/convertModel', { path: from });
		await expect(wrong).rejects.toThrow(`${file}: hidden_act is "gelu", which is not supported`);
		client.connection.dispose();
	});

	test('a folder that fills the memory ends its process, not the engine', async () => {
		const client = await serve();
		const from = smallFolder(folder, 'greedy');
		// Each of these millions of objects takes three letters in the file, and twenty times as much in memory.
		writeFileSync(path.join(from, 'tokenizer.json'), `{"added_tokens": [${'{},'.repeat(22_000_000)}0]}`);
		const request = client.connection.sendRequest('hearth/convertModel', { path: from });
		await expect(request).rejects.toThrow(/greedy: the conversion ended unexpectedly/);
		expect(await client.status()).toMatchObject({ processId: engine!.pid });
		expect(partials()).toEqual([]);
		client.connection.dispose();
	});

	test('that is cancelled leaves nothing', async () => {
		const client = await serve();
		const from = largeFolder('cancelled');
		const source = new CancellationTokenSource();
		client.connection.onProgress(new ProgressType<{ kind: string }>(), 'token', ({ kind }) => {
			if (kind === 'report') source.cancel();
		});
		const params = { path: from, workDoneToken: 'token' };
		const request = client.connection.sendRequest('hearth/convertModel', params, source.token);
		await expect(request).rejects.toThrow('cancelled');
		expect(partials()).toEqual([]);
		expect(existsSync(`${from}.gguf`)).toBe(false);
		client.connection.dispose();
	});

	test('leaves nothing where the engine dies', async () => {
		const client = await serve();
		const from = largeFolder('orphaned');
		const begun = new Promise<void>((resolve) => {
			client.connection.onProgress(new ProgressType<{ kind: string }>(), 'token', ({ kind }) => {
				if (kind === 'report') resolve();
			});
		});
		client.connection.sendRequest('hearth/convertModel', { path: from, workDoneToken: 'token' }).catch(() => undefined);
		await begun;
		expect(partials().length).toBe(1);
		engine!.kill('SIGKILL');
		await until(() => partials().length === 0);
		expect(existsSync(`${from}.gguf`)).toBe(false);
		client.connection.dispose();
	});
});
