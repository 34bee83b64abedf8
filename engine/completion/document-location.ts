// Where a document lies, which decides whether the user keeps it from the models.

export interface DocumentLocation {
	/** Its path, with slashes on every system. One that was never saved has only a name. */
	readonly path: string;
	/** The workspace folders that contain it. Each is the beginning of `path`, without a slash at its end. */
	readonly folders: readonly string[];
	/** Whether it is a file that this process can reach by `path`. */
	readonly onDisk: boolean;
}
