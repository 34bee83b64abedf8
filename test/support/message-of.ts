// What went wrong, for child processes that report it.

/** The message that a piece of work is rejected with; null where it is not. */
export async function messageOf(work: () => Promise<unknown>): Promise<string | null> {
	try {
		await work();
		return null;
	} catch (error) {
		return error instanceof Error ? error.message : `no Error: ${String(error)}`;
	}
}
