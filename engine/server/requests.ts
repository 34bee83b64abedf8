// How a client's requests are answered. A request is cancelled when the client says so or has gone. Its errors get the
// protocol's codes. A long request reports its progress.
import type { RequestType } from 'vscode-jsonrpc';
import {
	type CancellationToken,
	type Connection,
	LSPErrorCodes,
	ResponseError,
	WorkDoneProgress,
	type WorkDoneProgressBegin,
	type WorkDoneProgressEnd,
	type WorkDoneProgressReport,
} from 'vscode-languageserver';
import { ErrorCode } from '../protocol';
import { describe, log } from '../services/log';
import { responseError } from './error-code';

/** A report of progress: a percentage, a message or both. */
export type Report = (progress: Omit<WorkDoneProgressReport, 'kind'>) => void;

export class Requests {
	readonly #connection: Connection;
	readonly #gone: AbortSignal;

	/** @param gone is aborted when the client has gone. */
	constructor(connection: Connection, gone: AbortSignal) {
		this.#connection = connection;
		this.#gone = gone;
	}

	/**
	 * Answers requests of a type.
	 * @param otherwise the code of errors that have none of their own.
	 */
	on<P, R>(
		type: RequestType<P, R, void>,
		answer: (params: P, signal: AbortSignal) => Promise<R> | R,
		otherwise: number = ErrorCode.engineFailed,
	): void {
		// The method is given by name, because the server library has its own copy of vscode-jsonrpc, whose types are not
		// the protocol's.
		this.#connection.onRequest<unknown, void>(type.method, (params: P, token: CancellationToken) =>
			this.#coded(otherwise, () => this.cancellable(token, async (signal) => answer(params, signal))),
		);
	}

	/**
	 * Answers requests of a type that take seconds to minutes, report their progress and fail when they are cancelled.
	 * @param title the words that the client shows above the progress.
	 * @param name the name of the work, for the error's message after it was cancelled.
	 */
	onLong<P extends { workDoneToken?: string | number }, R>(
		type: RequestType<P, R, void>,
		{ title, name }: { title: string; name: string },
		answer: (params: P, signal: AbortSignal, report: Report) => Promise<R>,
		otherwise?: number,
	): void {
		this.on(
			type,
			async (params, signal) => {
				const { workDoneToken } = params;
				const report = (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => {
					if (workDoneToken === undefined) return;
					void this.tell(() => this.#connection.sendProgress(WorkDoneProgress.type, workDoneToken, value));
				};
				report({ kind: 'begin', title: `Hearth: ${title}`, cancellable: true, percentage: 0 });
				try {
					return await answer(params, signal, (progress) => report({ kind: 'report', ...progress }));
				} catch (error) {
					if (signal.aborted) throw new ResponseError(LSPErrorCodes.RequestCancelled, `the ${name} was cancelled`);
					throw error;
				} finally {
					report({ kind: 'end' });
				}
			},
			otherwise,
		);
	}

	/**
	 * Runs work with a signal that is aborted when the client cancels the request or has gone. All listeners are removed
	 * when the work ends, because a session lasts for days.
	 */
	async cancellable<T>(token: CancellationToken, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
		const controller = new AbortController();
		const abort = () => controller.abort();
		if (token.isCancellationRequested || this.#gone.aborted) abort();
		const subscription = token.onCancellationRequested(abort);
		this.#gone.addEventListener('abort', abort);
		try {
			return await work(controller.signal);
		} finally {
			subscription.dispose();
			this.#gone.removeEventListener('abort', abort);
		}
	}

	/** Sends a message that nobody misses if the client goes meanwhile. */
	async tell(send: () => Promise<void>): Promise<void> {
		if (this.#gone.aborted) return;
		try {
			await send();
		} catch (error) {
			if (!this.#gone.aborted) log(`sending: ${describe(error)}`);
		}
	}

	async #coded<T>(otherwise: number, work: () => Promise<T>): Promise<T> {
		try {
			return await work();
		} catch (error) {
			const coded = responseError(error, otherwise);
			if (coded.code === ErrorCode.engineFailed) log(`request failed: ${describe(error)}`);
			throw coded;
		}
	}
}
