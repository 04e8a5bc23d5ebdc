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

/// Generates without gradients and without caches: each new token runs its whole row again. Rows run one by one: a
/// product's rounding depends on its size, so in a batch the texts would depend on their neighbours, and while whole
/// rows run again a batch saves little.
class Generator {
 public:
  /// `network` must outlive it.
  explicit Generator(SavedNetwork& network) : network_(network) {}

  /// The completions of each prompt, sample by sample. What else is generated beside one changes nothing. Throws
  /// DataError for an id outside the vocabulary.
  std::vector<Completion> generate(const std::vector<Prompt>& prompts, const Sampling& sampling);

 private:
  std::vector<int32_t> encode(const Prompt& prompt) const;
  Completion complete(const std::vector<int32_t>& prompt, int sample, const Sampling& sampling);
  std::vector<double> next_logits(const std::vector<int32_t>& ids);

  SavedNetwork& network_;
};

/// `lmnet generate`: deals the prompts out over the ranks, whose first one prints the completions in the order of the
/// prompts: texts, or with `jsonl` lines {prompt, text, ids, logprob}. `checkpoint`: a checkpoint or a run. Returns 0;
/// throws AgreedError.
int generate(Communicator& world, const std::filesystem::path& checkpoint, const std::vector<Prompt>& prompts,
             const Sampling& sampling, bool jsonl);

}  // namespace lmnet
