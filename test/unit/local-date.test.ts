import { afterEach, describe, expect, test, vi } from 'vitest';
import { localDate } from '../../engine/chat/local-date';
import { generate } from '../../engine/cli/generate';
import { answers, fakeOpenedModel, harmony } from './support/fake-opened-model';

vi.mock('../../engine/loading/open-model', async (original) => ({
	...(await original<object>()),
	openModel: async () => fakeOpenedModel(answers('<|channel|>final<|message|>Hi<|return|>')),
}));

const zone = process.env['TZ'];
afterEach(() => {
	if (zone === undefined) delete process.env['TZ'];
	else process.env['TZ'] = zone;
	vi.restoreAllMocks();
	vi.useRealTimers();
});

describe('localDate', () => {
	test.each([
		['UTC', '2026-03-01T11:30:00Z', '2026-03-01'],
		['Pacific/Kiritimati', '2025-12-31T11:30:00Z', '2026-01-01'],
		['Pacific/Kiritimati', '2024-02-28T10:00:00Z', '2024-02-29'],
		['Pacific/Pago_Pago', '2026-01-01T10:30:00Z', '2025-12-31'],
		['Pacific/Pago_Pago', '2024-03-01T00:00:00Z', '2024-02-29'],
	])('in %s at %s it is %s', (zone, instant, date) => {
		process.env['TZ'] = zone;
		expect(localDate(new Date(instant))).toBe(date);
	});
});

test.each([
	['Pacific/Kiritimati', '2026-01-01'],
	['Pacific/Pago_Pago', '2025-12-30'],
])('hearth generate --chat tells the model the date in %s', async (zone, date) => {
	process.env['TZ'] = zone;
	vi.useFakeTimers({ now: new Date('2025-12-31T10:30:00Z'), toFake: ['Date'] });
	vi.spyOn(process.stdout, 'write').mockImplementation((_text, ...rest) => {
		(rest.at(-1) as (() => void) | undefined)?.();
		return true;
	});
	const encode = vi.spyOn(harmony, 'encode');
	await generate(['model.gguf', '--chat', '--prompt', 'Hello']);
	expect(new Set(encode.mock.calls.map(([prompt]) => prompt.currentDate))).toEqual(new Set([date]));
});
