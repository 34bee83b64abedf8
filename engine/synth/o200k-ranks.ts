// The o200k vocabulary as gpt-tokenizer ships it: 2 MB of source that only writing a model needs, so this is a bundle of its
// own (dist/o200k-ranks.js), loaded on demand.
import ranks from 'gpt-tokenizer/bpeRanks/o200k_base';

/** Token bytes by rank: text, or bytes where they are no UTF-8. */
export const o200kRanks: readonly (string | readonly number[])[] = ranks;
