#include "trainer/run_start.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/model_spec.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// Whether a named checkpoint is where the run goes on: it is where a new run begins, which then goes on from its own
/// ones. Going back inside a run would mix two pasts in one folder.
bool begins_at(const fs::path& checkpoint, const Config& config, const RunFolder& folder) {
  std::vector<fs::path> own = list_checkpoints(folder.checkpoints());
  auto same = [&](const fs::path& other) { return fs::weakly_canonical(other) == fs::weakly_canonical(checkpoint); };
  if (own.empty() || same(own.front())) return true;
  if (std::none_of(own.begin(), own.end(), same)) return false;
  throw ConfigError(
      fmt::format("{}: run.resume: {} is not the newest checkpoint of this run, {} is; choose another "
                  "run.name to branch off",
                  config.where, checkpoint.string(), own.front().string()));
}

RunStart choose(const Config& config, const RunFolder& folder) {
  RunStart start;
  const std::string& resume = config.run.resume;
  if (folder.exists()) {
    if (resume == "never")
      throw ConfigError(fmt::format("{}: run.resume is never, but {} exists; choose another run.name", config.where,
                                    folder.path().string()));
    for (const std::string& change : folder.compare(config)) start.notes.push_back("changed on resume: " + change);
  }
  if (resume == "never") return start;
  if (resume != "auto") {
    const fs::path named = require_checkpoint(resume);
    if (begins_at(named, config, folder)) {
      open_checkpoint(named, /*verify=*/true);
      start.checkpoint = named;
      return start;
    }
  }
  ResumeChoice choice = choose_checkpoint(folder.checkpoints());
  for (const std::string& damage : choice.damaged) start.notes.push_back("damaged checkpoint passed over: " + damage);
  if (choice.checkpoint) start.checkpoint = choice.checkpoint->string();
  return start;
}

}  // namespace

RunStart choose_start(Communicator& world, const Config& config, const RunFolder& folder) {
  RunStart start;
  together(world, [&] {
    if (world.rank() == 0) start = choose(config, folder);
  });
  start.checkpoint = gather_texts(world, start.checkpoint)[0];
  return start;
}

}  // namespace lmnet
