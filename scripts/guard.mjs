// Runs a program in this process's group and ends the whole group when whoever started it is gone, however it went: the
// pipe on standard input closes then.
// usage: node scripts/guard.mjs PROGRAM ARGUMENTS…   (as the leader of a process group)
import { spawn } from 'node:child_process';

const [program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
child.once('error', (error) => {
	console.error(error.message);
	process.exit(1);
});
child.once('exit', (code) => process.exit(code ?? 1));
process.on('SIGTERM', () => {}); // the child gets it too, and its end is ours
process.stdin.once('close', () => process.kill(-process.pid, 'SIGTERM')).resume();
