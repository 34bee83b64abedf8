// Today's date as prompts give it.

/** The date in the user's time zone, as YYYY-MM-DD. */
export function localDate(date: Date): string {
	const two = (value: number) => String(value).padStart(2, '0');
	return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
