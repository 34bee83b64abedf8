// What each stage of the pipeline made of a suggestion: for whoever has to find the one at fault.

export interface Stage {
	/** e.g. "stop rule: dedent" or "filter: suffix overlap". */
	name: string;
	/** What it left. */
	text: string;
}

/** Is told of the model's text first, then of each stage that changed it, in order. */
export type Trace = (stage: Stage) => void;
