#pragma once
#include <filesystem>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/generation/generator.h"

namespace lmnet {

/// `lmnet generate`: deals the prompts out over the ranks, whose first one prints the completions in the order of the
/// prompts: texts (a single one as it grows), or with `jsonl` lines {prompt, text, ids, logprob}; on the standard error
/// output the tokens a second. `checkpoint`: a checkpoint, a run or a Hugging Face folder. Returns 0; throws
/// AgreedError.
int generate(Communicator& world, const std::filesystem::path& checkpoint, const std::vector<Prompt>& prompts,
             const Sampling& sampling, bool jsonl);

/// `lmnet generate --interactive`: continues each line of the standard input, on one rank, until it ends. SIGINT ends
/// an answer; while none is under way, the program.
int generate_interactively(Communicator& world, const std::filesystem::path& checkpoint, const Sampling& sampling);

}  // namespace lmnet
