import { defineConfig } from 'vitest/config';

// Machines are shared and slow at times: tests have no time limit that could decide their outcome.
const NO_LIMIT = 2 ** 31 - 1;

export default defineConfig({
	test: {
		include: ['test/unit/**/*.test.ts', 'test/parity/**/*.test.ts'],
		testTimeout: NO_LIMIT,
		hookTimeout: NO_LIMIT,
		teardownTimeout: 60_000,
		// The addon owns threads and maps models: one process a file, two at a time.
		pool: 'forks',
		maxWorkers: 2,
	},
});
