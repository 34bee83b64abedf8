// Runs a program in this process's group. When the process that started the guard is gone, for whatever reason, the
// pipe on standard input closes, and the guard ends the whole group.
// usage: node scripts/guard.mjs PROGRAM ARGUMENTS…   (as the leader of a process group)
import { spawn } from 'node:child_process';

const [program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
child.once('error', (error) => {
	console.error(error.message);
	process.exit(1);
});
child.once('exit', (code) => process.exit(code ?? 1));
process.on('SIGTERM', () => {}); // the child also gets the signal, and the guard ends with it
process.stdin.once('close', () => process.kill(-process.pid, 'SIGTERM')).resume();
