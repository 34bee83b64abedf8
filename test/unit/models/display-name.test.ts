import { expect, test } from 'vitest';
import { displayName } from '../../../engine/models/display-name';

const SMOL = 'Smollm2 135M 8k Lc100K Mix1 Ep2';
const blob = `/blobs/sha256-${'0123456789abcdef'.repeat(4)}`;

test.each([
	// The file's name says more than the training run's name.
	['/m/SmolLM2-135M-Instruct-Q8_0.gguf', SMOL, 'SmolLM2-135M-Instruct-Q8_0'],
	['/m/gpt-oss-20b-mxfp4.GGUF', 'Gpt Oss 20b', 'gpt-oss-20b-mxfp4'],
	['/m/gpt-oss-120b-mxfp4-00001-of-00003.gguf', 'Gpt Oss 120b', 'gpt-oss-120b-mxfp4'],
	['/m/big.gguf', '', 'big'],
	['/m/Qwen3 4B.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/модель.gguf', 'x', 'модель'],
	// The file's name tells nothing.
	[blob, SMOL, 'Smollm2 135M'],
	[blob, 'Gpt Oss 20b', 'Gpt Oss 20b'],
	[blob, 'Qwen3 4B Thinking 2507', 'Qwen3 4B Thinking 2507'],
	[blob, 'Mistral 7B Instruct v0.3', 'Mistral 7B Instruct v0.3'],
	[blob, 'Phi 3 Mini 4k Instruct', 'Phi 3 Mini 4k Instruct'],
	[blob, 'Llama 3.2 1B Instruct Q8_0', 'Llama 3.2 1B Instruct'],
	[blob, 'Mixtral 8x7B Instruct', 'Mixtral 8x7B Instruct'],
	[blob, ' two\n lines\t', 'two lines'],
	['/m/model.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/model-Q8_0.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/modelling-7b.gguf', 'x', 'modelling-7b'],
	['/m/model (1).gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/ggml-model-Q4_K_M.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/unsloth.Q4_K_M.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/0b1f2c3d-1111-2222-3333-444455556666.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	['/m/123.gguf', 'Qwen3 4B', 'Qwen3 4B'],
	// The file has no name of its own either.
	['/m/model.gguf', '', 'model'],
	['/m/model.gguf', ' \n', 'model'],
	['/m/123.gguf', undefined, '123'],
	['/m/.gguf', '', '/m/.gguf'],
])('%s that calls itself %j', (file, ownName, expected) => {
	expect(displayName(file, ownName)).toBe(expected);
});
