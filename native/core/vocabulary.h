// Tells whether the vocabulary of a file can be used, without building the tables of engine/tokenizer/. Building them
// takes half a second of JavaScript's thread for 200,000 tokens, and a list of models asks for every file.
#pragma once

#include <string>
#include <vector>

#include "gguf.h"

namespace hearth {

/// What the engine's tokenizer knows. The tokenizer defines the rules; see engine/tokenizer/read-byte-level-bpe.ts.
struct VocabularyRules {
  std::vector<std::string> pre_tokenizers;
  /// Names of special tokens. Such a token is no text, whatever type the file gives it.
  std::vector<std::string> control_names;
};

/// Throws Error, which names the file, with the sentence that engine/tokenizer/ would throw. `output_rows`: rows of the
/// model's output matrix.
void check_vocabulary(const Gguf& gguf, const VocabularyRules& rules, int output_rows);

}  // namespace hearth
