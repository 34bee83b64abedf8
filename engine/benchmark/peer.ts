// The benchmark beside llama.cpp. Rounds of ours and of llama.cpp's take turns, so that a machine whose speed changes
// treats both alike. llama.cpp runs in a process of its own (llama-peer.ts): it keeps a repacked copy of the weights,
// and two engines with 12 GB each would not fit side by side.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { statistics } from './benchmark';
import type { BenchmarkOptions } from './options';
import { ratiosOf } from './ratios';
import type { BenchmarkReport, BenchmarkResult } from './report';

export interface PeerJob {
	model: string;
	threads: number;
	/** llama.cpp runs those of our tests that need no more than loading, prompts and plain decoding. */
	options: Pick<BenchmarkOptions, 'tests' | 'prompt' | 'generate' | 'batch' | 'length'>;
}

export interface PeerAnswer {
	/** llama.cpp's release. */
	version: string;
	rows: { test: string; milliseconds: number }[];
	memory: { peakBytes: number; averageBytes: number };
}

/**
 * llama.cpp's version.
 * @throws Error that says what to do where llama.cpp is not installed.
 */
export async function peerVersion(signal: AbortSignal): Promise<string> {
	return (await runPeer([], signal)).version;
}

/**
 * One round of llama.cpp.
 * @throws an AbortError when the signal is aborted; Error with llama.cpp's message.
 */
export function peerRound(job: PeerJob, signal: AbortSignal): Promise<PeerAnswer> {
	return runPeer([JSON.stringify(job)], signal);
}

function runPeer(args: string[], signal: AbortSignal): Promise<PeerAnswer> {
	const script = [
		path.join(__dirname, 'llama-peer.js'), // bundled: beside dist/hearth.js
		path.join(__dirname, '..', '..', 'dist', 'llama-peer.js'), // from source, as the tests run
	].find(existsSync);
	if (!script) throw new Error('dist/llama-peer.js is missing; run "npm run build"');
	return new Promise((resolve, reject) => {
		// An aborted round is killed, since llama.cpp gives no other way to stop a running evaluation.
		execFile(process.execPath, [script, ...args], { signal, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
			if (!error) return resolve(JSON.parse(stdout) as PeerAnswer);
			if (signal.aborted) return reject(error);
			const how = error.signal ? `was ended by ${error.signal} (too little memory?)` : `ended with code ${error.code}`;
			reject(new Error(stderr.trim() || `llama.cpp ${how}`));
		});
	});
}

/** Merges our rounds, each with the round of llama.cpp that followed it, into one report. */
export function mergeRounds(ours: readonly BenchmarkReport[], theirs: readonly PeerAnswer[]): BenchmarkReport {
	const [first] = ours;
	const [peer] = theirs;
	if (!first || !peer) throw new Error('there are no rounds to merge');
	const results = first.results.flatMap((result): BenchmarkResult[] => {
		const { test } = result;
		const samples = ours.flatMap(
			(report) => report.results.find((other) => other.test === test)?.milliseconds.samples ?? [],
		);
		const peerSamples = theirs.flatMap(({ rows }) =>
			rows.filter((row) => row.test === test).map((row) => row.milliseconds),
		);
		// Tokens of a sample. Both engines have the same number.
		const tokens =
			result.tokensPerSecond && (result.tokensPerSecond.samples[0]! * result.milliseconds.samples[0]!) / 1000;
		const row = (engine: BenchmarkResult['engine'], milliseconds: number[]): BenchmarkResult => ({
			...{ test, engine, milliseconds: statistics(milliseconds) },
			...(tokens && { tokensPerSecond: statistics(milliseconds.map((time) => (tokens / time) * 1000)) }),
		});
		return [
			{ ...row('hearth', samples), ...meanShares(ours, test) },
			...(peerSamples.length > 0 ? [row('llama.cpp', peerSamples)] : []),
		];
	});
	const memoryOf = (list: readonly { memory: { peakBytes: number; averageBytes: number } }[]) => ({
		peakBytes: Math.max(...list.map(({ memory }) => memory.peakBytes)),
		averageBytes: Math.round(statistics(list.map(({ memory }) => memory.averageBytes)).mean),
	});
	const ceiling = (name: 'readBytesPerSecond' | 'multiplyAddsPerSecond' | 'tileMultiplyAddsPerSecond') => {
		const values = ours.flatMap(({ machine }) => machine[name] ?? []);
		return values.length > 0 ? { [name]: statistics(values).mean } : {};
	};
	return {
		...first,
		machine: {
			...first.machine,
			...ceiling('readBytesPerSecond'),
			...ceiling('multiplyAddsPerSecond'),
			...ceiling('tileMultiplyAddsPerSecond'),
		},
		...(first.repacked !== undefined && { repacked: ours.every(({ repacked }) => repacked) }),
		results,
		ratios: ratiosOf(results),
		memory: { ...first.memory, ...memoryOf(ours) },
		peer: { engine: 'llama.cpp', version: peer.version, memory: memoryOf(theirs) },
	};
}

/**
 * The means of what a test's rounds measured beside times. Each round's shares are of the ceilings that were measured
 * in that round.
 */
function meanShares(ours: readonly BenchmarkReport[], test: string): Partial<BenchmarkResult> {
	const shares: Partial<BenchmarkResult> = {};
	for (const name of ['bytesPerToken', 'bandwidthShare', 'computeShare', 'acceptance'] as const) {
		const values = ours.flatMap(({ results }) => results.find((result) => result.test === test)?.[name] ?? []);
		if (values.length > 0) shares[name] = statistics(values).mean;
	}
	return shares;
}
