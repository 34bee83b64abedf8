import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { nativeChatFormat } from '../../../engine/families/chat-markup';
import type { ModelFamily } from '../../../engine/families/family';
import { templateChatFormat } from '../../../engine/families/jinja-template';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import { ModelHost, NoModelError } from '../../../engine/services/model-host';
import { rankedVocabulary, vocabularyHeader } from '../../../engine/synth/vocabulary';
import { Tokenizer } from '../../../engine/tokenizer/tokenizer';
import { completes, type FakeOpenedModel, fakeOpenedModel, harmony, tokenizer } from '../support/fake-opened-model';

const BYTES = Array.from({ length: 256 }, (_, byte) => [byte]);
const chatml = Tokenizer.fromGguf(vocabularyHeader(rankedVocabulary(BYTES, ['<|im_start|>', '<|im_end|>'])));

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);

const settings = (modelPath: string) => ({ ...DEFAULT_SETTINGS, modelPath });

function setUp() {
	const models: FakeOpenedModel[] = [];
	const opened: string[] = [];
	const events: string[] = [];
	const host = new ModelHost(
		() => {},
		async (file) => {
			opened.push(file);
			events.push(`open ${file}, ${models.filter(({ native }) => !native.closed).length} in memory`);
			if (file.includes('broken')) throw new Error(`${file} is no GGUF file`);
			const model = fakeOpenedModel(completes('text'));
			models.push(model);
			return model;
		},
	);
	return { host, models, opened, events };
}

test('the next model is opened before the one in use is closed', async () => {
	const { host, models, events } = setUp();
	await host.load(settings('/a.gguf'));
	const loading = host.load(settings('/b.gguf'));
	expect(host.state).toEqual({ state: 'loading', path: '/b.gguf' });
	expect(host.requireModel().engine).toBe(models[0]!.engine);
	await loading;
	expect(events).toEqual(['open /a.gguf, 0 in memory', 'open /b.gguf, 1 in memory']);
	expect(models.map(({ native }) => native.closed)).toEqual([true, false]);
	expect(host.requireModel().engine).toBe(models[1]!.engine);
	await host.close();
	expect(models[1]!.native.closed).toBe(true);
});

test('one that cannot be opened leaves the one in use; without one the state is an error until another loads', async () => {
	const { host, models } = setUp();
	await expect(host.load(settings('/broken.gguf'))).rejects.toThrow('/broken.gguf is no GGUF file');
	expect(host.state).toEqual({ state: 'error', path: '/broken.gguf', error: '/broken.gguf is no GGUF file' });
	expect(() => host.requireModel()).toThrow(NoModelError);
	await host.load(settings('/a.gguf'));
	await expect(host.load(settings('/broken.gguf'))).rejects.toThrow('/broken.gguf is no GGUF file');
	expect(host.state).toMatchObject({ state: 'ready', model: { engine: models[0]!.engine } });
	expect(models[0]!.native.closed).toBe(false);
	await host.close();
});

test('the last one asked for wins, and going back to the one in use opens nothing', async () => {
	const { host, models, opened } = setUp();
	const first = await host.load(settings('/a.gguf'));
	const other = host.load(settings('/b.gguf'));
	const back = host.load(settings('/a.gguf'));
	await expect(other).rejects.toThrow('another model was chosen meanwhile');
	expect(await back).toBe(first);
	expect(await host.load(settings('/a.gguf'))).toBe(first);
	expect(host.state.state).toBe('ready');
	expect(opened).toEqual(['/a.gguf']);
	await host.unload();
	expect(host.state).toEqual({ state: 'no-model' });
	expect(models[0]!.native.closed).toBe(true);
});

test('one whose file another has taken the place of is opened again where it is asked for', async () => {
	const { host, models } = setUp();
	const folder = mkdtempSync(path.join(os.tmpdir(), 'hearth-host-'));
	try {
		const file = path.join(folder, 'a.gguf');
		writeFileSync(file, 'one');
		const first = await host.load(settings(file));
		expect(await host.load(settings(file))).toBe(first);
		writeFileSync(`${file}.new`, 'two');
		renameSync(`${file}.new`, file);
		const second = await host.load(settings(file));
		expect(second).not.toBe(first);
		expect(models.map(({ native }) => native.closed)).toEqual([true, false]);
		expect(await host.load(settings(file))).toBe(second);
		// A replaced file also counts after a change to another model and back. A file that is only gone does not.
		writeFileSync(`${file}.new`, 'three');
		renameSync(`${file}.new`, file);
		const [other, back] = [host.load(settings('/b.gguf')), host.load(settings(file))];
		await expect(other).rejects.toThrow('another model was chosen meanwhile');
		const third = await back;
		expect(third).not.toBe(second);
		rmSync(file);
		expect(await host.load(settings(file))).toBe(third);
		await host.close();
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
});

test('a failed one can be asked for again', async () => {
	const { host, opened } = setUp();
	for (let i = 0; i < 2; i++) await expect(host.load(settings('/broken.gguf'))).rejects.toThrow('no GGUF');
	expect(opened.length).toBe(2);
});

test('the summary says what to call it, and whether a reasoning effort makes a difference', async () => {
	const template = (text: string) =>
		templateChatFormat(`{% for m in messages %}{{ m.content }}{% endfor %}${text}`, tokenizer, {
			stopIds: harmony.stopIds,
			bosToken: '',
			eosToken: '',
		});
	const chats: [ModelFamily['chat'], true | undefined][] = [
		[harmony, true],
		[template(''), undefined],
		[template('{% if enable_thinking is defined and not enable_thinking %}quick{% endif %}'), true],
		[template('{{ reasoning_effort }}'), true],
		[template("{% if reasoning_effort == 'high' %}{{ raise_exception('no') }}{% endif %}"), undefined],
		[nativeChatFormat(chatml, new Set())!, undefined],
		[{ unavailable: 'it cannot' }, undefined],
	];
	for (const [chat, takes] of chats) {
		const host = new ModelHost(
			() => {},
			async () => fakeOpenedModel(completes('text'), {}, chat),
		);
		const { summary } = await host.load(settings('/a.gguf'));
		expect(summary.takesReasoningEffort).toBe(takes);
		expect(summary.name).toBe('fake');
		expect(summary).not.toHaveProperty('ownName');
		await host.close();
	}
});

test('one whose file has changed is unloaded with the reason, even while another fails to load, and can be loaded again', async () => {
	const lose: ((error: Error) => void)[] = [];
	const models: FakeOpenedModel[] = [];
	const host = new ModelHost(
		() => {},
		async (file, { onLost }) => {
			if (file.includes('broken')) throw new Error(`${file} is no GGUF file`);
			lose.push(onLost!);
			models.push(fakeOpenedModel(completes('text')));
			return models.at(-1)!;
		},
	);
	await host.load(settings('/a.gguf'));
	lose[0]!(new Error('the model file changed while in use: /a.gguf'));
	const error = 'the model file changed while in use: /a.gguf';
	expect(host.state).toEqual({ state: 'error', path: '/a.gguf', error });
	expect(() => host.requireModel()).toThrow(`there is no model: ${error}`);
	await host.load(settings('/a.gguf'));
	expect(models[0]!.native.closed).toBe(true);
	expect(host.state).toMatchObject({ state: 'ready', model: { engine: models[1]!.engine } });
	// A later error of the first model does not matter.
	lose[0]!(new Error('again'));
	expect(host.state.state).toBe('ready');
	const failing = host.load(settings('/broken.gguf'));
	lose[1]!(new Error(error));
	await expect(failing).rejects.toThrow('/broken.gguf is no GGUF file');
	expect(host.state).toMatchObject({ state: 'error', path: '/broken.gguf' });
	await host.close();
	expect(models[1]!.native.closed).toBe(true);
});
