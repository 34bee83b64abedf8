// The message of a failure, for child processes that report it.

/** Resolves to the message that a piece of work rejects with, or to null when it does not reject. */
export async function messageOf(work: () => Promise<unknown>): Promise<string | null> {
	try {
		await work();
		return null;
	} catch (error) {
		return error instanceof Error ? error.message : `no Error: ${String(error)}`;
	}
}
