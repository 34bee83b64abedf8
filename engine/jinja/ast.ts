// A template after parsing. The names follow Jinja2's `nodes.py`.

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**';
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export interface Arguments {
	positional: Expression[];
	keywords: [string, Expression][];
	/** The arguments of `*list` and `**dict`. */
	spread: Expression | undefined;
	keywordSpread: Expression | undefined;
}

export type Expression =
	| { type: 'constant'; value: string | bigint | number | boolean | null }
	| { type: 'name'; name: string }
	| { type: 'list' | 'tuple'; items: Expression[] }
	| { type: 'dict'; entries: [Expression, Expression][] }
	| { type: 'attribute'; object: Expression; name: string }
	| { type: 'item'; object: Expression; key: Expression | Slice }
	| { type: 'call'; callee: Expression; args: Arguments }
	| { type: 'filter'; name: string; value: Expression; args: Arguments }
	| { type: 'test'; name: string; value: Expression; args: Arguments }
	| { type: 'not' | 'negative' | 'positive'; value: Expression }
	| { type: 'and' | 'or'; left: Expression; right: Expression }
	| { type: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
	| { type: 'concat'; items: Expression[] }
	| { type: 'compare'; first: Expression; rest: { operator: CompareOperator; value: Expression }[] }
	| { type: 'condition'; test: Expression; value: Expression; otherwise: Expression | undefined };

export interface Slice {
	type: 'slice';
	start: Expression | undefined;
	stop: Expression | undefined;
	step: Expression | undefined;
}

/** The place that an assignment or a loop gives a value to. */
export type Target =
	| { type: 'name'; name: string }
	| { type: 'namespace'; name: string; attribute: string }
	| { type: 'tuple'; items: Target[] };

export interface Signature {
	parameters: string[];
	/** The defaults of the last parameters. */
	defaults: Expression[];
}

/** A filter that is applied to the text of a block. */
export interface BlockFilter {
	name: string;
	args: Arguments;
}

/** Which of these three names a macro's body reads beside its parameters. */
export interface MacroUses {
	varargs: boolean;
	kwargs: boolean;
	caller: boolean;
}

export type Statement =
	| { type: 'data'; text: string }
	| { type: 'output'; value: Expression }
	| { type: 'if'; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
	| {
			type: 'for';
			target: Target;
			iterable: Expression;
			test: Expression | undefined;
			recursive: boolean;
			body: Statement[];
			otherwise: Statement[];
	  }
	| { type: 'set'; target: Target; value: Expression }
	| { type: 'set-block'; target: Target; filters: BlockFilter[]; body: Statement[] }
	| { type: 'macro'; name: string; signature: Signature; uses: MacroUses; body: Statement[] }
	| {
			type: 'call-block';
			signature: Signature;
			uses: MacroUses;
			call: Expression & { type: 'call' };
			body: Statement[];
	  }
	| { type: 'filter-block'; filters: BlockFilter[]; body: Statement[] }
	| { type: 'with'; targets: Target[]; values: Expression[]; body: Statement[] }
	/** A part with a scope of its own: `block` or `autoescape`. */
	| { type: 'scope'; body: Statement[] }
	/** A part without a scope of its own: `generation`, which only marks answers for training. */
	| { type: 'group'; body: Statement[] }
	| { type: 'break' | 'continue' };
