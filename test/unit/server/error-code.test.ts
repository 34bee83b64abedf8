import { expect, test } from 'vitest';
import { ResponseError } from 'vscode-languageserver';
import { NotEnoughMemoryError } from '../../../engine/models/memory-need';
import { ErrorCode } from '../../../engine/protocol';
import { ContextOverflowError, OverloadedError } from '../../../engine/runtime/errors';
import { responseError } from '../../../engine/server/error-code';
import { NoModelError } from '../../../engine/services/model-host';

const shortage = {
	...{ path: '/huge.gguf', alternatives: [] },
	need: { weightBytes: 12e9, cacheBytes: 1e9, scratchBytes: 0.3e9, totalBytes: 13.3e9 },
	memory: { totalBytes: 16e9, availableBytes: 9e9 },
};

test.each([
	[new NoModelError({ state: 'no-model' }), ErrorCode.noModel],
	[new ContextOverflowError(500, 300), ErrorCode.contextOverflow],
	[new OverloadedError(9), ErrorCode.overloaded],
	[new NotEnoughMemoryError(shortage, 0), ErrorCode.notEnoughMemory],
	[new Error('no connection'), ErrorCode.downloadFailed],
	['no error at all', ErrorCode.downloadFailed],
] as const)('%s', (error, code) => {
	const answer = responseError(error, ErrorCode.downloadFailed);
	expect(answer.code).toBe(code);
	expect(answer.message).toBe(error instanceof Error ? error.message : error);
	expect(answer.data).toEqual(error instanceof NotEnoughMemoryError ? shortage : undefined);
});

test('an error that has its code keeps it, and a message is one line', () => {
	const own = new ResponseError(-32800, 'the benchmark was cancelled');
	expect(responseError(own, ErrorCode.engineFailed)).toBe(own);
	expect(responseError(new Error('one\ntwo'), ErrorCode.engineFailed).message).toBe('one two');
});
