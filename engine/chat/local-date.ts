// Today, as a prompt says it.

/** YYYY-MM-DD where the user is: the day that their clock shows. */
export function localDate(date: Date): string {
	const two = (value: number) => String(value).padStart(2, '0');
	return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
