// The end-to-end tests: the packaged extension in a real VS Code in a real browser. `npm run test:e2e`.
import { defineConfig } from 'vitest/config';

// Nothing here is decided by time: every wait is on a condition. These only end a run that hangs.
const HANG_MILLISECONDS = 20 * 60_000;

export default defineConfig({
	test: {
		root: new URL('../..', import.meta.url).pathname,
		include: ['test/e2e/**/*.test.ts'],
		globalSetup: ['test/e2e/setup.ts'],
		testTimeout: HANG_MILLISECONDS,
		hookTimeout: HANG_MILLISECONDS,
		teardownTimeout: 60_000,
		pool: 'forks',
		// One VS Code at a time, its tests in their order: each step starts from the screen the last one left.
		fileParallelism: false,
		sequence: { concurrent: false },
		reporters: ['verbose'],
	},
});
