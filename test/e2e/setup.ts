// Prepares once what all end-to-end tests need: the workbench from npm, the packaged extension installed in it, and the
// demo model.
import { mkdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { installExtension } from '../../scripts/code-server.mjs';
import { madeModel } from '../../scripts/made-model.mjs';
import { packageExtension } from '../../scripts/package.mjs';
import { setupVscode } from '../../scripts/setup-vscode.mjs';
import { ensureSystem } from '../../scripts/system.mjs';

declare module 'vitest' {
	interface ProvidedContext {
		hearth: {
			workbench: Awaited<ReturnType<typeof setupVscode>>;
			/** A folder to copy. It has VS Code's data with the extension installed and nothing else. */
			installed: string;
			/** Path of a model that knows a few functions and conversations by heart. */
			model: string;
			/** Path of a model of random weights. It says nonsense and never ends. */
			ramblingModel: string;
			vsixBytes: number;
			/** Whether to renew the README's pictures: `npm run test:e2e -- --update`. */
			updateImages: boolean;
		};
	}
}

export default async function setup(project: TestProject): Promise<void> {
	const output = path.resolve(import.meta.dirname, '../output');
	mkdirSync(output, { recursive: true });
	ensureSystem(['compiler', 'browser', 'font']);
	const workbench = await setupVscode();
	const vsix = path.join(output, 'hearth.vsix');
	await packageExtension({ out: vsix, compiler: 'system' });
	const installed = path.join(output, 'installed');
	rmSync(installed, { recursive: true, force: true });
	await installExtension(workbench, installed, vsix);
	rmSync(path.join(output, 'e2e.json'), { force: true });
	project.provide('hearth', {
		workbench,
		installed,
		model: madeModel('demo'),
		ramblingModel: madeModel('tiny', '--vocab=o200k'),
		vsixBytes: statSync(vsix).size,
		updateImages: project.config.snapshotOptions.updateSnapshot === 'all',
	});
}
