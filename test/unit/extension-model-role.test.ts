import { expect, it } from 'vitest';
import { roleChoices, roleInSettings } from '../../extension/model/modelRole';

const name = (file: string) => file.slice(1);
const none = { modelPath: '', completionModelPath: '', draftModelPath: '' };

it('asks nothing about a first model', () => {
	expect(roleChoices('/a', none, name)).toMatchObject([
		{ role: 'chat', changes: { modelPath: '/a', completionModelPath: '' } },
	]);
});

it('keeps what the other model does', () => {
	const choices = roleChoices('/b', { ...none, modelPath: '/a' }, name);
	expect(choices.map(({ role, changes }) => ({ role, changes }))).toEqual([
		{ role: 'chat', changes: { modelPath: '/b', completionModelPath: '' } },
		{ role: 'completion', changes: { completionModelPath: '/b' } },
		{ role: 'chat', changes: { modelPath: '/b', completionModelPath: '/a' } },
		{ role: undefined, changes: { draftModelPath: '/b' } },
	]);
	const two = roleChoices('/c', { ...none, modelPath: '/a', completionModelPath: '/b' }, name);
	expect(two[2]).toMatchObject({
		detail: 'b goes on completing',
		changes: { modelPath: '/c', completionModelPath: '/b' },
	});
});

it('never names one model twice', () => {
	const two = { ...none, modelPath: '/a', completionModelPath: '/b' };
	expect(roleChoices('/a', two, name)[1]!.changes).toEqual({ completionModelPath: '' });
	expect(roleChoices('/b', two, name)[2]!.changes).toEqual({ modelPath: '/b', completionModelPath: '' });
});

it('knows what a file of the settings is there for', () => {
	const two = { ...none, modelPath: '/a', completionModelPath: '/b' };
	expect(roleInSettings('/a', two)).toMatchObject({ role: 'chat', changes: {} });
	expect(roleInSettings('/b', two)).toMatchObject({ role: 'completion', changes: {} });
});
