// The options of the commands that run the engine's step loop. Each option is about something that makes it faster, and
// can turn that off for measuring.
import type { OpenedModel } from '../loading/open-model';

export const ENGINE_OPTIONS = {
	draft: { type: 'string' },
	'no-speculation': { type: 'boolean' },
	'no-repack': { type: 'boolean' },
} as const;

export const ENGINE_OPTIONS_HELP = `  --draft FILE     a draft head (EAGLE-3) of the model, or a smaller model of its vocabulary, that guesses tokens ahead;
                   the answer is the same either way
  --no-speculation do not guess tokens ahead; the answer is the same either way
  --no-repack      leave the weights as the file has them; the answer is the same either way`;

export function engineOptions(values: {
	draft?: string | undefined;
	'no-speculation'?: boolean | undefined;
	'no-repack'?: boolean | undefined;
}): { speculation: boolean; repack: boolean; draftModelPath?: string } {
	return {
		speculation: !values['no-speculation'],
		repack: !values['no-repack'],
		...(values.draft !== undefined && { draftModelPath: values.draft }),
	};
}

/**
 * Closes the model and throws where the draft that was asked for does not fit the model. A command should not go on
 * without it.
 */
export async function requireDraft({ engine, draftProblem }: OpenedModel): Promise<void> {
	if (draftProblem === undefined) return;
	await engine.close();
	throw new Error(draftProblem);
}
