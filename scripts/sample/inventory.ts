// A small shop inventory. Put the cursor at the end of a line and type on: Hearth's suggestion appears in grey, Tab
// takes it.

export interface Item {
	name: string;
	price: number;
	quantity: number;
}

/** The value of everything in stock. */
export function totalValue(items: Item[]): number {
	let total = 0;
	for (const item of items) {
		total += item.price * item.quantity;
	}
	return total;
}

/** The items that must be ordered again. */
export function runningLow(items: Item[], limit: number): Item[] {
	return items.filter((item) => item.quantity < limit);
}
