#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/console.h"
#include "trainer/saving/saved_network.h"

namespace lmnet {

struct EvaluationOptions {
  std::string data = {};             // a file or a glob
  std::string format = "alpaca";     // as in the config
  int64_t limit = 0;                 // the first so many items; 0 = all
  int64_t max_new_tokens = 128;      // of the answers that are generated; 0 = none, losses only
  std::filesystem::path items = {};  // where the records of all items go, a JSON line each; empty = nowhere
  bool json = false;
};

/// One item of an evaluation: a record with prompt and answer, or a packed sequence of plain text.
struct Item {
  int64_t tokens = 0;                     // that were to be predicted: the answer's and the end of text
  double loss = 0;                        // mean over them
  std::string prompt, answer;             // of a record
  std::string generated;                  // the greedy continuation of the prompt
  bool generates = false, match = false;  // match: generated and answer are the same, white space at their ends apart
};

/// The items of the data that are this rank's (number mod size), in order; `console` shows how far it is with them.
/// Throws DataError, and ConfigError for a network without a language head.
std::vector<Item> evaluate_items(SavedNetwork& network, const EvaluationOptions& options, int rank, int size,
                                 Console* console = nullptr);

/// `lmnet evaluate`: deals the items out over the ranks; the first one prints the summary: a line for people, or with
/// `json` {items, tokens, loss, perplexity, exact_match} (null where nothing was generated). `checkpoint`: a
/// checkpoint or a run. Returns 0; throws AgreedError.
int evaluate(Communicator& world, const std::filesystem::path& checkpoint, const EvaluationOptions& options);

}  // namespace lmnet
