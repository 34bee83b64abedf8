import { expect, test, vi } from 'vitest';
import { DEFAULT_SETTINGS } from '../../../engine/server/settings';
import type { ModelHost } from '../../../engine/services/model-host';
import { Models } from '../../../engine/services/models';
import { settingsOf } from '../../../engine/services/roles';
import { completes, fakeOpenedModel } from '../support/fake-opened-model';

vi.spyOn(process.stderr, 'write').mockImplementation(() => true);

const TARGET = 'function add(first, second) {\n    return first + second;\n}\n';

test('completions do not wake an idle model that chats', async () => {
	const opened: string[] = [];
	const models = new Models(
		() => {},
		async (file, { turns }) => {
			opened.push(file);
			return fakeOpenedModel(completes(TARGET), { contextTokens: 2000, ...(turns && { turns }) });
		},
	);
	await models.hosts.chat.load({ ...DEFAULT_SETTINGS, modelPath: '/chat.gguf' });
	await models.hosts.completion.load({ ...DEFAULT_SETTINGS, modelPath: '/code.gguf' });
	const sleep = async (host: ModelHost) => {
		// A model that warms up does not sleep.
		while (host.model?.engine.busy) await new Promise((resolve) => setTimeout(resolve, 5));
		await host.sleep();
		expect(host.state.state).toBe('unloaded');
	};
	await sleep(models.hosts.chat);
	expect(await models.modelFor('completion')).toBe(models.hosts.completion.model);
	expect(opened).toEqual(['/chat.gguf', '/code.gguf']);
	// A sleeping model for completions is woken alone. Two that ask for it at once share one load.
	await sleep(models.hosts.completion);
	const [one, two] = await Promise.all([models.modelFor('completion'), models.modelFor('completion')]);
	expect(one).toBe(two);
	expect(opened).toEqual(['/chat.gguf', '/code.gguf', '/code.gguf']);
	expect((await models.modelFor('chat')).summary.name).toBe('fake');
	expect(opened.length).toBe(4);
	await models.close();
});

test.each<[string, string, string | undefined, string | undefined]>([
	['', '', undefined, undefined],
	['/a', '', '/a', undefined],
	['/a', '/a', '/a', undefined],
	['/a', '/b', '/a', '/b'],
	['', '/b', undefined, '/b'],
])('settings %j and %j give the roles %j and %j', (modelPath, completionModelPath, chat, code) => {
	const settings = { ...DEFAULT_SETTINGS, modelPath, completionModelPath, draftModelPath: '/d' };
	expect(settingsOf('chat', settings)?.modelPath).toBe(chat);
	expect(settingsOf('completion', settings)?.modelPath).toBe(code);
	expect(settingsOf('completion', settings)?.draftModelPath ?? '').toBe('');
});
