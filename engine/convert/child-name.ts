// In a file of its own, so that the command line can compare a command with it without loading the conversion.

/** The command that an engine runs to convert a folder. It is not for users. */
export const CONVERT_CHILD = 'convert-for-engine';
