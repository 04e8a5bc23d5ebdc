#include "trainer/saving/checkpoint_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <sstream>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// What this rank finds wrong with its share of the files: the largest are dealt first, each to the rank that has
/// least.
std::string damage_of_share(const fs::path& folder, size_t rank, size_t ranks) {
  Manifest manifest = open_checkpoint(folder);
  std::ranges::stable_sort(manifest.files, std::ranges::greater{}, &ManifestFile::bytes);
  std::vector<uint64_t> loads(ranks, 0);
  std::vector<std::string> damages;
  for (const ManifestFile& file : manifest.files) {
    const auto least = std::ranges::min_element(loads);
    *least += file.bytes + 1;
    if (static_cast<size_t>(least - loads.begin()) != rank) continue;
    if (auto damage = damage_of(folder, file, /*verify=*/true)) damages.push_back(std::move(*damage));
  }
  return fmt::format("{}", fmt::join(damages, "; "));
}

}  // namespace

std::string damage_of_checkpoint(Communicator& world, const fs::path& folder) {
  std::string mine;
  try {
    mine = damage_of_share(folder, static_cast<size_t>(world.rank()), static_cast<size_t>(world.size()));
  } catch (const std::exception& error) {
    mine = sentence(error);
  }
  // What all of them find, such as a file that is missing, is told once.
  std::vector<std::string> all;
  for (const std::string& text : gather_texts(world, mine))
    if (!text.empty() && std::ranges::find(all, text) == all.end()) all.push_back(text);
  return fmt::format("{}", fmt::join(all, "; "));
}

ResumeChoice choose_checkpoint(Communicator& world, const fs::path& dir) {
  std::string names;
  together(world, [&] {
    if (world.rank() != 0) return;
    restore_replaced(dir);
    for (const fs::path& folder : step_folders(dir)) names += folder.filename().string() + "\n";
  });
  std::istringstream lines(gather_texts(world, names)[0]);
  ResumeChoice choice;
  for (std::string name; std::getline(lines, name);) {
    const std::string damage = damage_of_checkpoint(world, dir / name);
    if (damage.empty()) {
      choice.checkpoint = dir / name;
      return choice;
    }
    choice.damaged.push_back(damage);
  }
  if (choice.damaged.empty()) return choice;
  throw AgreedError(exit_code(CheckpointError("")),
                    fmt::format("no checkpoint in {} can be resumed from ({}); restore one, or begin anew with another "
                                "run.name",
                                dir.string(), fmt::join(choice.damaged, "; ")));
}

}  // namespace lmnet
