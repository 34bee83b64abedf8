// HTTP as downloads need it. Requests go through the user's proxy. Redirects are followed by hand: only to https, never
// in a circle, never with a header of ours that tells a host more than the file's name, and never from elsewhere to
// this machine or its network. Errors are sorted into those that pass by themselves and those that last.
import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import tls from 'node:tls';
import type { EnvHttpProxyAgent, request } from 'undici';
import { messageOf, printable, quote } from '../quote';
import { VERSION } from '../version';
import { type AddressKind, kindOfAddress, kindOfHost } from './address';

/** How the network is reached. A setting that is absent has the environment's value (HTTPS_PROXY, NO_PROXY…). */
export interface NetworkSettings {
	/** Address of a proxy. Empty: no proxy, whatever the environment says. */
	proxy?: string;
	/** Value of the Proxy-Authorization header. */
	proxyAuthorization?: string;
	/** Hosts that are reached without the proxy. */
	noProxy?: string[];
	/** false: certificates are not checked. */
	strictTls?: boolean;
}

/**
 * An error that passes by itself, e.g. because the connection broke or the host is overloaded. `retryAfter`:
 * milliseconds to wait, where the host says so.
 */
export class PassingError extends Error {
	override name = 'PassingError';
	readonly retryAfter: number | undefined;

	constructor(message: string, retryAfter?: number) {
		super(message);
		this.retryAfter = retryAfter;
	}
}

/** An error that will be the same on the next try. */
export class LastingError extends Error {
	override name = 'LastingError';
}

export interface Checksum {
	/** `git` is the SHA-1 of "blob SIZE\0" and the file, by which Git names its blobs. */
	algorithm: 'sha256' | 'git';
	/** Lower-case hexadecimal. */
	value: string;
}

export interface Answer {
	/** The HTTP status: 200, 206 or 416. */
	status: number;
	headers: Record<string, string | string[] | undefined>;
	body: AsyncIterable<Buffer> & { destroy(): unknown };
	/**
	 * The checksum and size that the first host stated, before it redirected the request. Hugging Face sends
	 * X-Linked-ETag and X-Linked-Size, the SHA-256 and the size of a file in Git LFS. For small files its ETag is Git's
	 * name of the blob. Source: huggingface_hub, `file_download.py`.
	 */
	stated: { checksum?: Checksum; bytes?: number };
}

interface RequestOptions {
	method?: 'GET' | 'HEAD';
	/** Headers for every host on the way. */
	headers?: Record<string, string>;
	signal?: AbortSignal;
}

const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/**
 * Hosts that are reached directly whatever the settings say: a proxy on another machine would look for them on itself.
 */
const LOOPBACK = ['localhost', '127.0.0.1', '::1'];

/** One user's way into the network, for as long as one download takes. */
export class Network {
	readonly #request: typeof request;
	readonly #dispatcher: EnvHttpProxyAgent;
	readonly #named: NamedHosts;

	/** Only `open` calls this. */
	constructor(send: typeof request, dispatcher: EnvHttpProxyAgent, named: NamedHosts) {
		this.#request = send;
		this.#dispatcher = dispatcher;
		this.#named = named;
	}

	/**
	 * Opens a user's way into the network.
	 * @param stallMilliseconds silence after which a connection counts as broken.
	 * @throws LastingError where the proxy's address is no address.
	 */
	static async open(settings: NetworkSettings, stallMilliseconds: number): Promise<Network> {
		// The library is loaded on first use: an engine that downloads nothing should not spend its start on it.
		const { EnvHttpProxyAgent: Agent, request: send } = await import('undici');
		const { proxy, proxyAuthorization, noProxy, strictTls = true } = settings;
		const exceptions = noProxy ?? (process.env['no_proxy'] ?? process.env['NO_PROXY'] ?? '').split(/[\s,]+/);
		const connection = { rejectUnauthorized: strictTls, ...authorities() };
		const named = new NamedHosts();
		try {
			const dispatcher = new Agent({
				...(proxy !== undefined && { httpProxy: proxy, httpsProxy: proxy }),
				...(proxyAuthorization !== undefined && { token: proxyAuthorization }),
				noProxy: [...exceptions, ...LOOPBACK].filter((host) => host !== '').join(','),
				// Only connections without a proxy are checked here. A proxy looks names up itself, and may well be on this
				// network.
				connect: { ...connection, lookup: named.lookup },
				requestTls: connection,
				proxyTls: connection,
				headersTimeout: stallMilliseconds,
				bodyTimeout: stallMilliseconds,
			});
			return new Network(send, dispatcher, named);
		} catch (error) {
			throw new LastingError(
				`the proxy ${printable(proxy ?? 'of the environment')} cannot be used: ${messageOf(error)}`,
			);
		}
	}

	/**
	 * Asks for a file and follows redirects to where it is.
	 * @throws PassingError or LastingError, in words for the user.
	 */
	async request(address: string, { method = 'GET', headers = {}, signal }: RequestOptions = {}): Promise<Answer> {
		const first = checkedAddress(address);
		this.#named.add(first);
		const visited = new Set<string>();
		const stated: Answer['stated'] = {};
		let url = first;
		for (;;) {
			if (visited.has(url.href)) throw new LastingError(`${first.host} sends us in a circle (${url.href})`);
			if (visited.size > MOST_REDIRECTS)
				throw new LastingError(`${first.host} sends us on more than ${MOST_REDIRECTS} times`);
			visited.add(url.href);
			const answer = await this.#send(url, method, headers, signal);
			if (url.host === first.host) readStated(answer, stated);
			if (!REDIRECTS.has(answer.statusCode)) {
				const { statusCode: status } = answer;
				if (status === 200 || status === 206 || status === 416) {
					return { status, headers: answer.headers, body: answer.body, stated };
				}
				answer.body.destroy();
				throw refusal(url, status, retryAfter(answer.headers));
			}
			answer.body.destroy();
			// A redirect to a content network has told what was asked for. The addresses of such networks are signed for GET
			// alone.
			if (method === 'HEAD' && stated.bytes !== undefined) {
				return { status: 200, headers: answer.headers, body: answer.body, stated };
			}
			const location = text(answer.headers['location']);
			if (!location || !URL.canParse(location, url))
				throw new LastingError(`${url.host} sends us on, but not where to`);
			url = new URL(location, url);
			if (url.protocol !== 'https:' && !(isLoopback(first) && isLoopback(url) && url.protocol === 'http:')) {
				throw new LastingError(`${first.host} sends us on to ${url.protocol}//${url.host}, which is not encrypted`);
			}
			const kind = kindOfHost(url);
			if (kind !== undefined) this.#named.check(url.hostname, kind);
			// A name and a password in an address would be sent to its host.
			url.username = '';
			url.password = '';
		}
	}

	async #send(url: URL, method: 'GET' | 'HEAD', headers: Record<string, string>, signal: AbortSignal | undefined) {
		try {
			const answer = await this.#request(url, {
				method,
				dispatcher: this.#dispatcher,
				headers: { 'user-agent': `hearth/${VERSION}`, 'accept-encoding': 'identity', accept: '*/*', ...headers },
				...(signal && { signal }),
			});
			// A body that is destroyed on purpose emits an error, which must not end the process.
			answer.body.on('error', () => {});
			return answer;
		} catch (error) {
			if (signal?.aborted) throw error;
			throw connectionError(url.host, error);
		}
	}

	/** Ends all connections. */
	async close(): Promise<void> {
		await this.#dispatcher.destroy();
	}
}

/** The error of a broken connection, in words. */
export function connectionError(host: string, error: unknown): PassingError | LastingError {
	const { code, message, cause } = error as NodeJS.ErrnoException;
	for (const each of [error, cause]) if (each instanceof LastingError) return each;
	const inner = (cause as NodeJS.ErrnoException | undefined)?.code ?? code;
	switch (inner) {
		case 'ENOTFOUND':
		case 'EAI_AGAIN':
			return new PassingError(`${host} cannot be found; check the connection to the internet`);
		case 'ECONNREFUSED':
			return new PassingError(`${host} cannot be reached (the connection was refused)`);
		case 'UND_ERR_CONNECT_TIMEOUT':
		case 'ETIMEDOUT':
		case 'EHOSTUNREACH':
		case 'ENETUNREACH':
			return new PassingError(`${host} cannot be reached; check the connection to the internet, or the proxy`);
		case 'UND_ERR_HEADERS_TIMEOUT':
		case 'UND_ERR_BODY_TIMEOUT':
			return new PassingError(`${host} has stopped sending`);
	}
	if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS/.test(inner ?? '')) {
		return new LastingError(
			`the certificate of ${host} is not trusted (${inner}); where a proxy of your organisation reads the traffic, ` +
				'let NODE_EXTRA_CA_CERTS name its certificate',
		);
	}
	if (/proxy/i.test(message)) {
		const denied = /407/.test(message);
		const text = `the proxy refuses the connection to ${host} (${printable(message)})`;
		return denied ? new LastingError(`${text}; it wants a name and a password`) : new PassingError(text);
	}
	return new PassingError(`the connection to ${host} broke (${printable(message)})`);
}

function refusal({ host }: URL, status: number, wait: number | undefined): PassingError | LastingError {
	switch (status) {
		case 401:
		case 403:
			return new LastingError(`${host} refuses the file (${status}); it may have been withdrawn or ask for an account`);
		case 404:
		case 410:
			return new LastingError(`${host} has no such file any more (${status}); a newer Hearth may know where it is`);
		case 407:
			return new LastingError('the proxy wants a name and a password (407)');
		case 408:
		case 425:
		case 429:
		case 500:
		case 502:
		case 503:
		case 504:
			return new PassingError(`${host} is busy (${status})`, wait);
		default:
			return new LastingError(`${host} answers ${status}`);
	}
}

/**
 * The header Retry-After, in milliseconds. It is a number of seconds or a date. A date is compared with the host's own
 * date, since our clock may be wrong.
 * https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
function retryAfter(headers: Answer['headers']): number | undefined {
	const value = text(headers['retry-after']);
	if (value === undefined) return undefined;
	if (/^\d+$/.test(value)) return Number(value) * 1000;
	const now = Date.parse(text(headers['date']) ?? '');
	const wait = Date.parse(value) - (Number.isNaN(now) ? Date.now() : now);
	return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

function readStated({ headers, statusCode }: Awaited<ReturnType<typeof request>>, stated: Answer['stated']): void {
	const tag = text(headers['x-linked-etag']) ?? text(headers['etag']);
	const value = /^(?:W\/)?"?([0-9a-f]{64}|[0-9a-f]{40})"?$/.exec(tag ?? '')?.[1];
	if (value) stated.checksum ??= { algorithm: value.length === 64 ? 'sha256' : 'git', value };
	const size = text(headers['x-linked-size']) ?? (statusCode === 200 ? text(headers['content-length']) : undefined);
	if (size !== undefined && /^\d+$/.test(size)) stated.bytes ??= Number(size);
}

function checkedAddress(address: string): URL {
	if (!URL.canParse(address)) throw new LastingError(`${quote(address)} is no address`);
	const url = new URL(address);
	if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url))) {
		throw new LastingError(`${url.href} is not encrypted; only https addresses are used`);
	}
	return url;
}

function isLoopback(url: URL): boolean {
	return kindOfHost(url) === 'loopback';
}

/**
 * The hosts that the user has named for a download, and the kinds of places they are in. A public host must not
 * redirect to this machine or its network, neither by an address nor by a name that leads there. A host that is itself
 * in such a place may redirect to others of its kind, e.g. a mirror of an organisation.
 */
class NamedHosts {
	readonly #names = new Set<string>();
	readonly #kinds = new Set<AddressKind>();

	add(url: URL): void {
		this.#names.add(url.hostname);
		const kind = kindOfHost(url);
		if (kind !== undefined) this.#kinds.add(kind);
	}

	/**
	 * Checks that a redirect may lead to a host.
	 * @throws LastingError where the host is not public and nobody has named such a host.
	 */
	check(hostname: string, kind: AddressKind): void {
		if (kind === 'public' || this.#names.has(hostname) || this.#kinds.has(kind)) return;
		const place =
			kind === 'private' ? 'a private network' : kind === 'link-local' ? 'the local network' : 'this machine itself';
		throw new LastingError(
			`${[...this.#names].join(', ')} sends us on to ${hostname}, which is ${place} and no host of models; it is not asked`,
		);
	}

	/**
	 * Looks a name up for a connection and refuses what `check` refuses. The connection uses the addresses that were
	 * checked, so a second look-up cannot give others.
	 */
	readonly lookup: LookupFunction = (hostname, options, callback) => {
		dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
			if (error) return callback(error, []);
			try {
				for (const { address } of addresses) {
					const kind = kindOfAddress(address) ?? 'public';
					if (this.#names.has(hostname)) this.#kinds.add(kind);
					else this.check(hostname, kind);
				}
			} catch (refused) {
				return callback(refused as Error, []);
			}
			if (options.all) callback(null, addresses);
			else callback(null, addresses[0]!.address, addresses[0]!.family);
		});
	};
}

/**
 * The certificates that the system trusts, beside Node's own. VS Code trusts the same ones. Empty where Node cannot
 * tell them (before 22.15).
 */
function authorities(): { ca?: string[] } {
	const { getCACertificates } = tls as { getCACertificates?: (type: 'default' | 'system' | 'extra') => string[] };
	if (!getCACertificates) return {};
	try {
		return {
			ca: [
				...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...getCACertificates('extra')]),
			],
		};
	} catch {
		return {};
	}
}

function text(value: string | string[] | undefined): string | undefined {
	return Array.isArray(value) ? value[0] : value;
}
