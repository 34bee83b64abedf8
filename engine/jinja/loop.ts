// The variable `loop`.
import { type Budget, TemplateError } from './budget';
import { Callable, equals, orElse, PyObject, Tuple, Undefined, type Value } from './values';

export class LoopContext extends PyObject {
	readonly typeName = 'LoopContext';
	index0 = 0;
	readonly #items: readonly Value[];
	readonly #depth0: number;
	readonly #renderInner: ((items: Value) => Value) | undefined;
	readonly #budget: Budget;
	#changed: Tuple | undefined;

	/** @param renderInner writes the loop's body for other items; undefined where the loop is not `recursive`. */
	constructor(
		items: readonly Value[],
		depth0: number,
		renderInner: ((items: Value) => Value) | undefined,
		budget: Budget,
	) {
		super();
		this.#items = items;
		this.#depth0 = depth0;
		this.#renderInner = renderInner;
		this.#budget = budget;
	}

	override represent(): string {
		return `<LoopContext ${this.index0 + 1}/${this.#items.length}>`;
	}

	override get length(): number {
		return this.#items.length;
	}

	override attribute(name: string): Value | undefined {
		const { index0 } = this;
		const items = this.#items;
		switch (name) {
			case 'index':
				return BigInt(index0 + 1);
			case 'index0':
				return BigInt(index0);
			case 'revindex':
				return BigInt(items.length - index0);
			case 'revindex0':
				return BigInt(items.length - index0 - 1);
			case 'first':
				return index0 === 0;
			case 'last':
				return index0 === items.length - 1;
			case 'length':
				return BigInt(items.length);
			case 'depth':
				return BigInt(this.#depth0 + 1);
			case 'depth0':
				return BigInt(this.#depth0);
			case 'previtem':
				return orElse(items[index0 - 1], () => new Undefined('there is no previous item'));
			case 'nextitem':
				return orElse(items[index0 + 1], () => new Undefined('there is no next item'));
			case 'cycle':
				return new Callable('method', 'cycle', (args) => this.#cycle(args));
			case 'changed':
				return new Callable('method', 'changed', (args) => this.#hasChanged(args));
			default:
				return undefined;
		}
	}

	/** What `loop(items)` writes. */
	recurse(args: readonly Value[]): Value {
		if (!this.#renderInner) {
			throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
		}
		if (args.length !== 1) throw new TemplateError('loop() takes exactly one argument');
		return this.#renderInner(args[0]!);
	}

	#cycle(args: readonly Value[]): Value {
		if (args.length === 0) throw new TemplateError('no items for cycling given');
		return args[this.index0 % args.length]!;
	}

	#hasChanged(args: readonly Value[]): boolean {
		const values = new Tuple(args);
		if (this.#changed && equals(this.#changed, values, this.#budget)) return false;
		this.#changed = values;
		return true;
	}
}
