// The kind of place that an IP address leads to: somewhere in the internet, or this machine or its network, where no
// host of models is.
import net from 'node:net';

/** `public`: any address that is not of the other kinds. */
export type AddressKind = 'loopback' | 'link-local' | 'private' | 'unspecified' | 'public';

const IPV4: [network: string, prefix: number, kind: AddressKind][] = [
	['0.0.0.0', 8, 'unspecified'],
	['127.0.0.0', 8, 'loopback'],
	['169.254.0.0', 16, 'link-local'],
	['10.0.0.0', 8, 'private'],
	['172.16.0.0', 12, 'private'],
	['192.168.0.0', 16, 'private'],
	// Shared address space, which the customers of one provider use: RFC 6598.
	['100.64.0.0', 10, 'private'],
	['192.0.0.0', 24, 'private'],
	// Multicast, reserved and broadcast addresses.
	['224.0.0.0', 3, 'link-local'],
];
const IPV6: [network: string, prefix: number, kind: AddressKind][] = [
	['::', 128, 'unspecified'],
	['::1', 128, 'loopback'],
	['fe80::', 10, 'link-local'],
	['fc00::', 7, 'private'],
	// Site-local addresses. RFC 3879 withdrew them, but old networks may still have them.
	['fec0::', 10, 'private'],
	['ff00::', 8, 'link-local'],
];
/**
 * Prefixes of IPv6 addresses that carry an IPv4 address, and the byte at which it begins: mapped, compatible, NAT64
 * (RFC 6052, and RFC 8215 for local use) and 6to4 (RFC 3056).
 */
const CARRIERS: [prefix: number[], at: number][] = [
	[[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 12],
	[[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 12],
	[[0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], 12],
	[[0x00, 0x64, 0xff, 0x9b, 0x00, 0x01], 12],
	[[0x20, 0x02], 2],
];

/**
 * The kind of an IPv4 or IPv6 address. The kind of an IPv4 address inside an IPv6 address counts. Undefined where the
 * text is no address.
 */
export function kindOfAddress(address: string): AddressKind | undefined {
	const bytes = bytesOf(address.replace(/%.*$/, ''));
	if (!bytes) return undefined;
	for (const [network, prefix, kind] of bytes.length === 4 ? IPV4 : IPV6) {
		if (beginsAlike(bytes, bytesOf(network)!, prefix)) return kind;
	}
	const carrier =
		bytes.length === 16 ? CARRIERS.find(([prefix]) => prefix.every((byte, i) => bytes[i] === byte)) : undefined;
	return carrier ? kindOfAddress(bytes.slice(carrier[1], carrier[1] + 4).join('.')) : 'public';
}

/** The kind of a URL's host, as far as its text alone tells. Undefined for a name that has to be looked up. */
export function kindOfHost({ hostname }: URL): AddressKind | undefined {
	const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
	// RFC 6761: these names are loopback, whatever a name server says.
	if (/(^|\.)localhost$/i.test(host)) return 'loopback';
	return kindOfAddress(host);
}

function bytesOf(address: string): number[] | undefined {
	if (net.isIPv4(address)) return address.split('.').map(Number);
	if (!net.isIPv6(address)) return undefined;
	// A URL writes the last four bytes in hexadecimal, even where they were given as an IPv4 address.
	const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
	const words = (text: string) => text.split(':').flatMap((word) => (word === '' ? [] : [Number.parseInt(word, 16)]));
	const [first, last] = [words(head), words(tail ?? '')];
	const zeros = new Array<number>(8 - first.length - last.length).fill(0);
	return [...first, ...zeros, ...last].flatMap((word) => [word >> 8, word & 0xff]);
}

function beginsAlike(a: number[], b: number[], bits: number): boolean {
	for (let i = 0; i * 8 < bits; i++) {
		const mask = (0xff << Math.max(0, 8 - (bits - i * 8))) & 0xff;
		if ((a[i]! & mask) !== (b[i]! & mask)) return false;
	}
	return true;
}
