// Status notifications are spaced by a clock that nobody can set.
import { afterEach, expect, test, vi } from 'vitest';
import type { EngineStatus } from '../../../engine/protocol';
import { Services } from '../../../engine/services/services';

afterEach(() => vi.useRealTimers());

test.each([-3_600_000, 3_600_000])('with the clock set by %d ms statuses go on, one each interval', async (by) => {
	vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
	const services = new Services({ fixedModel: false });
	const seen: EngineStatus[] = [];
	services.status.add({ notify: (status) => seen.push(status) });
	services.status.changed();
	await vi.advanceTimersByTimeAsync(0);
	expect(seen.length, 'the first one waits for nothing').toBe(1);
	vi.setSystemTime(Date.now() + by);
	for (let more = 2; more < 5; more++) {
		services.status.changed();
		services.status.changed();
		await vi.advanceTimersByTimeAsync(249);
		expect(seen.length).toBe(more - 1);
		await vi.advanceTimersByTimeAsync(1);
		expect(seen.length).toBe(more);
	}
	await services.close();
});
