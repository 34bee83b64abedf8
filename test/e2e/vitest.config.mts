// Configures the end-to-end tests: the packaged extension in a real VS Code in a real browser. `npm run test:e2e` runs
// them.
import { defineConfig } from 'vitest/config';

// No result here depends on time: every wait is for a condition. These limits only end a run that hangs.
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
		// One VS Code runs at a time, and its tests run in order: each step starts from the screen that the last step left.
		fileParallelism: false,
		sequence: { concurrent: false },
		reporters: ['verbose'],
	},
});
