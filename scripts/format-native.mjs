// Formats the C++ and the Metal sources as `.clang-format` says; `--check` only names the files that differ and fails.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const check = process.argv.includes('--check');

// These files are wrong on purpose or include a file twice on purpose. A formatter would undo that.
const oddOnPurpose = /^native\/test\/metal\/seeded\/(invalid|includes)\//;

const listed = ['ls-files', '--cached', '--others', '--exclude-standard', '--', 'native'];
const files = execFileSync('git', listed, { cwd: root, encoding: 'utf8' })
	.split('\n')
	.filter((file) => /\.(cpp|h|metal)$/.test(file) && !oddOnPurpose.test(file));
const packageFile = createRequire(import.meta.url).resolve('clang-format-node/package.json');
const program = path.join(path.dirname(packageFile), 'build', 'cli.js');
const flags = check ? ['--dry-run', '--Werror', '--ferror-limit=1'] : ['-i'];
try {
	execFileSync(process.execPath, [program, ...flags, ...files], { cwd: root, stdio: 'inherit' });
} catch {
	if (check) console.error('`npm run format` formats them.');
	process.exitCode = 1;
}
