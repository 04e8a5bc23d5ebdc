#include "trainer/checkpoint/keeping.h"

#include <algorithm>
#include <ranges>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/reference.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

struct Kept {
  fs::path folder;
  int64_t update = 0;
  std::optional<double> validation_loss;
  std::set<fs::path> copies;  // of frozen weights
};

/// Newest first. What cannot be read is left alone: somebody may want to look at it.
std::vector<Kept> readable_checkpoints(const fs::path& dir) {
  std::vector<Kept> found;
  for (const fs::path& folder : list_checkpoints(dir)) {
    try {
      const Manifest manifest = read_manifest(folder / manifest_name);
      Kept& kept = found.emplace_back(Kept{folder, manifest.update, manifest.validation_loss, {}});
      for (const auto& [name, reference] : manifest.references)
        if (reference.kind == "checkpoint") kept.copies.insert(reference_path(folder, reference));
    } catch (const CheckpointError&) {
    }
  }
  return found;
}

/// The `count` best of them, the very best first; of equal ones the newer.
std::vector<fs::path> best_of(std::vector<Kept> checkpoints, int count) {
  std::erase_if(checkpoints, [](const Kept& kept) { return !kept.validation_loss; });
  std::ranges::stable_sort(checkpoints, {}, &Kept::validation_loss);
  std::vector<fs::path> best;
  for (const Kept& kept : checkpoints | std::views::take(count)) best.push_back(kept.folder);
  return best;
}

/// Makes the link, or lets it point elsewhere, in one moment.
void point(const fs::path& link, const fs::path& folder) {
  std::error_code error;
  if (fs::read_symlink(link, error) == folder.filename()) return;
  const fs::path beside = temporary_name(link);
  remove_path(beside);
  fs::create_symlink(folder.filename(), beside, error);
  if (error) throw_file_error("make the link", link, error.value());
  rename_path(beside, link);
}

void point_to(const fs::path& dir, const fs::path& newest, const std::vector<fs::path>& best) {
  point(dir / "latest", newest);
  if (best.empty())
    remove_path(dir / "best");
  else
    point(dir / "best", best.front());
  sync_folder(dir);
}

/// Away from the list at once: nobody may find it half removed.
void remove_folder(const fs::path& folder, const SavePoint& at_point) {
  const auto hidden = temporary_name(folder);
  remove_path(hidden);
  rename_path(folder, hidden);
  if (at_point) at_point("save-clean");
  remove_path(hidden);
}

/// Removes the copies of frozen weights that no checkpoint needs any more.
void remove_copies(const fs::path& dir, const std::vector<Kept>& checkpoints, const SavePoint& at_point) {
  // One that cannot be read may need any.
  if (checkpoints.size() != list_checkpoints(dir).size()) return;
  for (const fs::path& copy : list_frozen(dir)) {
    const auto needs = [&](const Kept& kept) { return kept.copies.contains(copy); };
    if (std::ranges::none_of(checkpoints, needs)) remove_folder(copy, at_point);
  }
}

}  // namespace

void keep_checkpoints(const fs::path& dir, const Keeping& keeping, const SavePoint& at_point) {
  const std::vector<Kept> all = readable_checkpoints(dir);
  if (all.empty()) return;
  const std::vector<fs::path> best = best_of(all, keeping.best);
  std::optional<CheckpointError> no_links;  // where a file system has none, old checkpoints must go all the same
  try {
    point_to(dir, all.front().folder, best);
  } catch (const CheckpointError& error) {
    no_links = error;
  }
  for (size_t i = static_cast<size_t>(std::max(keeping.newest, 1)); i < all.size(); ++i) {
    if (keeping.every && *keeping.every > 0 && all[i].update % *keeping.every == 0) continue;
    if (std::ranges::find(best, all[i].folder) != best.end()) continue;
    remove_folder(all[i].folder, at_point);
  }
  remove_copies(dir, readable_checkpoints(dir), at_point);
  if (no_links) throw *no_links;
}

}  // namespace lmnet
