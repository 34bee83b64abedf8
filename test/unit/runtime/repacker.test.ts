import { describe, expect, it, vi } from 'vitest';
import { mayRepack, Repacker } from '../../../engine/runtime/repacker';
import type { NativeModel } from '../../../native/index';

const GB = 2 ** 30;
const PLENTY = { totalBytes: 64 * GB, availableBytes: 60 * GB };

function model(parts: number, repack: (part: number) => Promise<void>): NativeModel {
	return { repackBytes: Array.from({ length: parts }, () => GB / 2), repack } as unknown as NativeModel;
}

describe('mayRepack', () => {
	it('leaves the machine a quarter of its memory, and 4 GB at least', () => {
		expect(mayRepack(10 * GB, { totalBytes: 24 * GB, availableBytes: 22 * GB })).toBe(true);
		expect(mayRepack(10 * GB, { totalBytes: 16 * GB, availableBytes: 13 * GB })).toBe(false);
		expect(mayRepack(1 * GB, { totalBytes: 8 * GB, availableBytes: 5 * GB })).toBe(true);
		expect(mayRepack(1.5 * GB, { totalBytes: 8 * GB, availableBytes: 5 * GB })).toBe(false);
		expect(mayRepack(10 * GB, { totalBytes: 128 * GB, availableBytes: 41 * GB })).toBe(false);
	});
});

describe('Repacker', () => {
	it('starts after a quiet moment, stops for a request, and goes on where it stopped', async () => {
		vi.useFakeTimers();
		try {
			const moved: number[] = [];
			const repacker: Repacker = new Repacker(
				model(4, async (part) => {
					moved.push(part);
					if (part === 1) repacker.busy();
				}),
				() => PLENTY,
			);
			repacker.idle();
			expect(moved).toEqual([]);
			await vi.runAllTimersAsync();
			expect(moved).toEqual([0, 1]);
			repacker.idle();
			repacker.busy();
			await vi.runAllTimersAsync();
			expect(moved).toEqual([0, 1]);
			repacker.idle();
			await vi.runAllTimersAsync();
			expect(moved).toEqual([0, 1, 2, 3]);
			expect(repacker.movedBytes).toBe(2 * GB);
		} finally {
			vi.useRealTimers();
		}
	});

	it('leaves the weights where memory is short, before and during', async () => {
		const repack = vi.fn(async () => {});
		const short = new Repacker(model(4, repack), () => ({ totalBytes: 8 * GB, availableBytes: 4 * GB }));
		expect(await short.finish()).toBe(false);
		expect(repack).not.toHaveBeenCalled();

		const failing = vi.fn(async (part: number) => {
			if (part === 2) throw new Error('no memory');
		});
		const repacker = new Repacker(model(4, failing), () => PLENTY);
		expect(await repacker.finish()).toBe(false);
		expect(repacker.movedBytes).toBe(GB);
		expect(failing).toHaveBeenCalledTimes(3);
	});

	it('finishes at once when asked to', async () => {
		const repacker = new Repacker(
			model(3, async () => {}),
			() => PLENTY,
		);
		expect(await repacker.finish()).toBe(true);
	});

	it('does not claim to have moved what has no faster layout', async () => {
		const dense = { ...model(3, async () => expect.fail('nothing to move')), repackBytes: [] };
		const repacker = new Repacker(dense, () => PLENTY);
		expect(await repacker.finish()).toBe(false);
		expect(repacker.movedBytes).toBe(0);
	});
});
