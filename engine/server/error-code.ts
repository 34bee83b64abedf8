// The protocol's error codes for all requests, in one place.
import { ResponseError } from 'vscode-languageserver';
import { type MemoryShortage, NotEnoughMemoryError } from '../models/memory-need';
import { ErrorCode } from '../protocol';
import { messageOf } from '../quote';
import { ContextOverflowError, OverloadedError } from '../runtime/errors';
import { NoModelError } from '../services/model-host';

/**
 * The error that a failed request is answered with.
 * @param otherwise the code of errors that have none of their own.
 */
export function responseError(error: unknown, otherwise: number): ResponseError<MemoryShortage | undefined> {
	if (error instanceof ResponseError) return error;
	if (error instanceof NotEnoughMemoryError) {
		return new ResponseError(ErrorCode.notEnoughMemory, messageOf(error), error.shortage);
	}
	return new ResponseError(ownCode(error) ?? otherwise, messageOf(error));
}

function ownCode(error: unknown): number | undefined {
	if (error instanceof NoModelError) return ErrorCode.noModel;
	if (error instanceof ContextOverflowError) return ErrorCode.contextOverflow;
	if (error instanceof OverloadedError) return ErrorCode.overloaded;
	return undefined;
}
