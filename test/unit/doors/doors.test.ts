// Tests all doors of the engine at once. Attacks drive each of them with mutated input: files, folders, templates,
// catalogues, a host's answers, locks, messages and parameters. Meanwhile another client's answers stay right, and
// nothing ends or blocks the engine.
// It takes a minute. HEARTH_DOORS_SECONDS=600 makes it ten minutes, and HEARTH_DOORS_SEED sets another order of
// attacks.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { ChatResult, ModelRole } from '../../../engine/protocol';
import { demoCorpus } from '../../../engine/synth/demo-text';
import { trainedVocabulary } from '../../../engine/synth/vocabulary';
import { bundleCli } from '../../support/cli';
import { exactNumbers, f32, tokenizerJson, writeFolder } from '../../support/hugging-face';
import { makeModel, temporaryFolder } from '../../support/models';
import type { TestClient } from '../support/lsp-client';
import { attacks, type Ground, Host } from './attacks';
import { EngineProcess } from './engine-process';
import { Chance } from './mutate';

const SECONDS = Number(process.env['HEARTH_DOORS_SECONDS'] ?? 60);
const SEED = Number(process.env['HEARTH_DOORS_SEED'] ?? 9);
/** The longest time in milliseconds that one client's work may keep the others waiting. */
const MOST_BLOCKED = 250;
/**
 * A standstill of the machine counts as computing here. It happens once or twice, while a real fault blocks the engine
 * whenever it is tried.
 */
const MOST_STANDSTILLS = 2;
const LONGEST_STANDSTILL = 1000;
/** A request that is unanswered this many seconds after the attacks have ended counts as hanging. */
const GRACE = 120;

const root = path.resolve(import.meta.dirname, '..', '..', '..');
const folder = temporaryFolder();

/** A folder that converts: a qwen2 with one layer. */
function convertible(): Record<string, Buffer> {
	const vocabulary = trainedVocabulary(demoCorpus, 50);
	const tokens = vocabulary.tokenTypes.length;
	const [width, inner] = [32, 32];
	const tensor = (shape: number[], seed: number) =>
		f32(
			exactNumbers(
				shape.reduce((product, n) => product * n, 1),
				0.1,
				seed,
			),
			shape,
		);
	const layer = 'model.layers.0';
	const made = writeFolder(
		folder,
		'qwen2',
		{
			'model.embed_tokens.weight': tensor([tokens, width], 1),
			'model.norm.weight': tensor([width], 2),
			[`${layer}.input_layernorm.weight`]: tensor([width], 3),
			[`${layer}.post_attention_layernorm.weight`]: tensor([width], 4),
			...Object.fromEntries(
				['q', 'k', 'v'].flatMap((name, i) => [
					[`${layer}.self_attn.${name}_proj.weight`, tensor([width, width], 5 + i)],
					[`${layer}.self_attn.${name}_proj.bias`, tensor([width], 8 + i)],
				]),
			),
			[`${layer}.self_attn.o_proj.weight`]: tensor([width, width], 11),
			[`${layer}.mlp.gate_proj.weight`]: tensor([inner, width], 12),
			[`${layer}.mlp.up_proj.weight`]: tensor([inner, width], 13),
			[`${layer}.mlp.down_proj.weight`]: tensor([width, inner], 14),
		},
		{
			'config.json': {
				...{ architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', vocab_size: tokens, hidden_size: width },
				...{ intermediate_size: inner, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2 },
				...{ max_position_embeddings: 512, rms_norm_eps: 1e-6, rope_theta: 10_000, tie_word_embeddings: true },
				...{ hidden_act: 'silu', bos_token_id: 0, eos_token_id: 0 },
			},
			'tokenizer.json': tokenizerJson(vocabulary, 'qwen2'),
		},
	);
	const names = ['config.json', 'tokenizer.json', 'model.safetensors'];
	return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(made, name))]));
}

const COMPLETIONS = { maxTokens: 6, multiline: 'auto', prefixTokens: 96, relatedTokens: 0, suffixTokens: 32 };
const CHAT = { maxTokens: 8, temperature: null, topP: null, instructions: '', reasoningEffort: 'low' };

/** The requests that the client under attack repeats: an answer and its status, or a suggestion and its status. */
async function question(client: TestClient, role: ModelRole, round: number): Promise<unknown> {
	if (role === 'chat') {
		const { content, reasoning } = await client.connection.sendRequest<ChatResult>('hearth/chat', {
			conversationId: `victim-${round}`,
			messages: [{ role: 'user', content: 'What is a cache?' }],
			...{ maxTokens: 8, seed: 7, temperature: 1 },
		});
		return { content, reasoning };
	}
	return client.complete('file:///work/victim.js', 1, 8);
}

for (const role of ['chat', 'completion'] as const) {
	const other = role === 'chat' ? 'completion' : 'chat';
	test(`the ${role} model's clients while everything else is attacked, the ${other} model included`, async () => {
		const chance = new Chance(SEED + (role === 'chat' ? 0 : 1));
		const ground = path.join(folder, role);
		const shape = {
			...{ layers: 1, embedding: 32, feedForward: 32, experts: 4, expertsUsed: 2 },
			...{ heads: 2, headsKv: 1, headLength: 16, slidingWindow: 32, contextLength: 1024 },
		};
		const model = await makeModel(folder, `minimal-${role}`, shape);
		const catalogue = path.join(folder, `${role}.json`);
		writeFileSync(catalogue, '{"models":[]}');
		const host = await Host.start(readFileSync(model), chance.fork());
		const engine = new EngineProcess({
			...{
				cli: await bundleCli(folder),
				native: path.join(root, 'dist', 'native', 'hearth.node'),
				folder: ground,
				catalogue,
			},
			arguments: ['--threads', '1', '--context', '1024'],
		});
		const counts: Record<string, number> = {};
		try {
			const { client } = await engine.client({ completion: COMPLETIONS, chat: CHAT });
			await client.connection.sendRequest('hearth/loadModel', { path: model, role });
			await client.open('file:///work/victim.js', 'const a = 1;\nconst b \n');
			const expected = await question(client, role, 0);
			// The answers are compared as JSON text, so a difference that JSON does not show does not matter.
			const text = JSON.stringify(expected);

			const end = performance.now() + (SECONDS * 1000) / 2;
			const going = () => performance.now() < end && engine.ended === undefined;
			const scene: Ground = {
				...{ engine, folder: path.join(ground, 'attack'), model: readFileSync(model), convertible: convertible() },
				...{
					role: other,
					catalogue,
					host,
					settings: { completion: COMPLETIONS, chat: CHAT, contextTokens: 256 },
					waiting: new Set(),
				},
			};
			const failures: string[] = [];
			const attacker = async (name: string, own: Chance) => {
				while (going() && failures.length === 0) {
					const before = engine.stretches.length;
					try {
						await attacks[name]!(scene, own);
					} catch (error) {
						// The engine works on the same files. When a file is there again or gone, the try is spoilt, but that is no
						// fault.
						const { code } = error as NodeJS.ErrnoException;
						if (engine.ended === undefined && code === undefined) failures.push(`${name}: ${(error as Error).stack}`);
					}
					counts[name] = (counts[name] ?? 0) + 1;
					const blocked = engine.stretches.slice(before).map(({ blocked }) => blocked);
					if (blocked.some((time) => time > MOST_BLOCKED)) counts[`${name} while blocked`] = Math.max(...blocked);
				}
			};
			const victim = async () => {
				for (let round = 1; going() && failures.length === 0; round++) {
					try {
						const answer = JSON.stringify(await question(client, role, round));
						if (answer !== text) failures.push(`round ${round}: ${answer} instead of ${text}`);
						await client.status();
						counts['victim'] = round;
					} catch (error) {
						failures.push(`round ${round}: ${(error as Error).message}`);
					}
				}
			};
			const all = Promise.all([...Object.keys(attacks).map((name) => attacker(name, chance.fork())), victim()]);
			const hung = new Promise<string[]>((resolve) => {
				setTimeout(() => resolve([...scene.waiting]), (SECONDS / 2 + GRACE) * 1000).unref();
			});
			expect(await Promise.race([all.then(() => []), hung])).toEqual([]);
			expect(engine.ended).toBeUndefined();
			expect(failures, `${JSON.stringify(counts)}\n${engine.log.slice(-2000)}`).toEqual([]);
			// The engine still does everything that it is for.
			expect(JSON.stringify(await question(client, role, -1))).toBe(text);
			const long = engine.stretches.filter(({ blocked }) => blocked > MOST_BLOCKED);
			const tooLong = long.filter(({ blocked }) => blocked > LONGEST_STANDSTILL);
			expect(tooLong, `blocked: ${JSON.stringify(engine.stretches)}; ${JSON.stringify(counts)}`).toEqual([]);
			expect(long.length, `blocked: ${JSON.stringify(long)}; ${JSON.stringify(counts)}`).toBeLessThanOrEqual(
				MOST_STANDSTILLS,
			);
			for (const name of [...Object.keys(attacks), 'victim']) expect(counts[name], name).toBeGreaterThan(0);
		} finally {
			await engine.stop();
			await host.close();
		}
		if (process.env['HEARTH_DOORS_SECONDS'])
			console.log(role, JSON.stringify(counts), JSON.stringify(engine.stretches));
	});
}
