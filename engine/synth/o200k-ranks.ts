// The o200k vocabulary as gpt-tokenizer ships it. It is 2 MB of source that only the writing of a model needs. So it is
// a bundle of its own (dist/o200k-ranks.js), which is loaded on demand.
import ranks from 'gpt-tokenizer/bpeRanks/o200k_base';

/** The bytes of each token by rank: text, or a list of bytes where they are not UTF-8. */
export const o200kRanks: readonly (string | readonly number[])[] = ranks;
