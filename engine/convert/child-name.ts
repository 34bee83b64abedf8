// Apart from the rest of conversion, so that the command line can tell it without loading that.

/** The command line's name for converting on behalf of an engine; not for users. */
export const CONVERT_CHILD = 'convert-for-engine';
