// Whether a file's vocabulary can be used, told without making the tables of engine/tokenizer/ from it: that takes half a second of
// JavaScript's thread for 200,000 tokens, and a list of models asks it of every file.
#pragma once

#include <string>
#include <vector>

#include "gguf.h"

namespace hearth {

/// What the engine's tokenizer knows; the rules are its, see engine/tokenizer/read-byte-level-bpe.ts.
struct VocabularyRules {
  std::vector<std::string> pre_tokenizers;
  /// Tokens that are no text, whatever type the file gives them.
  std::vector<std::string> control_names;
};

/// Throws Error, with the sentence that engine/tokenizer/ would throw, naming the file.
void check_vocabulary(const Gguf& gguf, const VocabularyRules& rules, int output_rows);

}  // namespace hearth
