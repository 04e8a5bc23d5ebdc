#pragma once
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/console.h"
#include "trainer/generation/prompt.h"
#include "trainer/generation/sampler.h"
#include "trainer/saving/saved_network.h"

namespace lmnet {

struct Completion {
  std::string prompt, text;  // text: of the new tokens, without end of text and stop text
  std::vector<int32_t> ids;  // the new tokens, with the end of text or stop text that ended them
  double logprob = 0;        // of the new tokens, in the network's own distribution; of beams: the search's
  bool stopped = false;      // by end of text or a stop text, not by max_new_tokens
  int64_t prompt_tokens = 0;
};

/// Generates texts, several rows at a time, each of which gets what it gets alone (Decoder).
class Generator {
 public:
  /// Hears the text of a completion as it grows: pieces of whole characters that nothing changes any more, often empty.
  /// False ends the completion.
  using Listener = std::function<bool(std::string_view piece)>;

  /// `network` must outlive it.
  explicit Generator(SavedNetwork& network) : network_(network) {}

  /// The completions of each prompt, sample by sample. `listener` is for a single one. All prompts are checked before
  /// the first one runs: throws DataError for an id outside the vocabulary and for what check_room() refuses. `advance`
  /// hears how many of the completions are done.
  std::vector<Completion> generate(const std::vector<Prompt>& prompts, const Sampling& sampling,
                                   const Listener& listener = {}, const Advance& advance = {});

 private:
  /// A prompt in tokens.
  struct Input {
    std::vector<int32_t> ids;
    std::set<int32_t> ends;          // the tokens that end its completions
    std::vector<std::string> stops;  // the texts that do
  };
  struct Growth;

  Input read(const Prompt& prompt, const Sampling& sampling) const;
  void grow(std::span<Growth> rows, const Sampling& sampling, const Listener& listener);
  void search(const Input& input, const Sampling& sampling, Completion& completion);

  SavedNetwork& network_;
};

}  // namespace lmnet
