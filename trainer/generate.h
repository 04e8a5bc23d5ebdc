#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/sampler.h"
#include "trainer/saved_network.h"

namespace lmnet {

/// What to continue: a text, or ids, which need no tokenizer. Nothing at all = the start of a text.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

/// JSON lines `{"prompt": …}` or `{"ids": […]}`; other keys are ignored. Throws DataError with file and line.
std::vector<Prompt> read_prompts(const std::filesystem::path& file);

struct Completion {
  std::string prompt, text;  // text: of the new tokens, without end of text and stop text
  std::vector<int32_t> ids;  // the new tokens, with the end of text or stop text that ended them
  double logprob = 0;        // of the new tokens, in the network's own distribution
  bool stopped = false;      // by end of text or a stop text, not by max_new_tokens
};

/// Generates without gradients and without caches: each new token runs its whole row again. Prompts of unequal length
/// share a batch, filled up on the right, where causal attention does not see it.
class Generator {
 public:
  /// `network` must outlive it.
  explicit Generator(SavedNetwork& network) : network_(network) {}

  /// The completions of each prompt, sample by sample. What else is in the batch changes nothing. Throws DataError for
  /// an id outside the vocabulary.
  std::vector<Completion> generate(const std::vector<Prompt>& prompts, const Sampling& sampling);

 private:
  struct Row;
  std::vector<Row> start_rows(const std::vector<Prompt>& prompts, const Sampling& sampling) const;
  void step(const std::vector<Row*>& batch, const Sampling& sampling);
  void add(Row& row, const Choice& choice, const Sampling& sampling) const;

  SavedNetwork& network_;
};

/// `lmnet generate`: deals the prompts out over the ranks, whose first one prints the completions in the order of the
/// prompts: texts, or with `jsonl` lines {prompt, text, ids, logprob}. `checkpoint`: a checkpoint or a run. Returns 0;
/// throws AgreedError.
int generate(Communicator& world, const std::filesystem::path& checkpoint, const std::vector<Prompt>& prompts,
             const Sampling& sampling, bool jsonl);

}  // namespace lmnet
