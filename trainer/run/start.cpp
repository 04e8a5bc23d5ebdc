#include "trainer/run/start.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/model_spec.h"
#include "trainer/saving/checkpoint_choice.h"
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

/// What the run goes on from: `auto` = its newest checkpoint, a checkpoint's folder, or nothing.
std::string wanted_start(const Config& config, const RunFolder& folder, std::vector<std::string>& notes) {
  const std::string& resume = config.run.resume;
  if (folder.exists()) {
    if (resume == "never")
      throw ConfigError(fmt::format("{}: run.resume is never, but {} exists; choose another run.name", config.where,
                                    folder.path().string()));
    for (const std::string& change : folder.compare(config)) notes.push_back("changed on resume: " + change);
  }
  if (resume == "never") return "";
  if (resume != "auto") {
    const fs::path named = require_checkpoint(resume);
    if (begins_at(named, config, folder)) return named.string();
  }
  return "auto";
}

}  // namespace

RunStart choose_start(Communicator& world, const Config& config, const RunFolder& folder) {
  RunStart start;
  std::string wanted;
  together(world, [&] {
    if (world.rank() == 0) wanted = wanted_start(config, folder, start.notes);
  });
  wanted = gather_texts(world, wanted)[0];
  if (wanted == "auto") {
    const ResumeChoice choice = choose_checkpoint(world, folder.checkpoints());
    for (const std::string& damage : choice.damaged) start.notes.push_back("damaged checkpoint passed over: " + damage);
    if (choice.checkpoint) start.checkpoint = choice.checkpoint->string();
  } else if (!wanted.empty()) {
    const std::string damage = damage_of_checkpoint(world, wanted);
    if (!damage.empty()) throw AgreedError(exit_code(CheckpointError("")), damage);
    start.checkpoint = wanted;
  }
  return start;
}

}  // namespace lmnet
