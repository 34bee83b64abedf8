// The options of the commands that run the engine's step loop: what makes it faster, each to be switched off for measuring.

export const ENGINE_OPTIONS = {
	'no-speculation': { type: 'boolean' },
	'no-repack': { type: 'boolean' },
} as const;

export const ENGINE_OPTIONS_HELP = `  --no-speculation do not guess tokens ahead; the answer is the same either way
  --no-repack      leave the weights as the file has them; the answer is the same either way`;

export function engineOptions(values: { [name in keyof typeof ENGINE_OPTIONS]?: boolean | undefined }): {
	speculation: boolean;
	repack: boolean;
} {
	return { speculation: !values['no-speculation'], repack: !values['no-repack'] };
}
