// Lists what a process is connected to, as Linux reports it.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Internet sockets (TCP and UDP) that a process has open. Listening sockets are among them; Unix sockets are not. */
export function internetSockets(pid: number): string[] {
	const rows = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((protocol) =>
		readFileSync(`/proc/${pid}/net/${protocol}`, 'utf8')
			.trim()
			.split('\n')
			.slice(1)
			.map((line) => ({ inode: line.trim().split(/\s+/)[9], row: `${protocol} ${line.trim()}` })),
	);
	const open = new Set(
		readdirSync(`/proc/${pid}/fd`).map((fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]),
	);
	return rows.filter(({ inode }) => open.has(inode)).map(({ row }) => row);
}
