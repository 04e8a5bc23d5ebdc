#include <fmt/format.h>

#include <span>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace fs = std::filesystem;

CheckpointWriter::CheckpointWriter(fs::path checkpoints_dir, int64_t update, int rank, SavePoint at_point)
    : dir_(std::move(checkpoints_dir)),
      update_(update),
      rank_(rank),
      at_point_(at_point ? std::move(at_point) : [](const char*) {}) {}

fs::path CheckpointWriter::temporary() const {
  return temporary_name(dir_ / folder_name(update_));
}

fs::path CheckpointWriter::part_path(int rank) const {
  return temporary() / fmt::format("part.{:05}.json", rank);
}

void CheckpointWriter::prepare() {
  remove_path(temporary());
  std::error_code error;
  fs::create_directories(temporary(), error);
  if (error) {
    throw_file_error("write", temporary(), error.value());
  }
}

void CheckpointWriter::add(const std::string& kind, const std::string& name, const at::Tensor& tensor) {
  const auto file_name = fmt::format("{}.{:05}.h5", kind, rank_);
  auto& file = files_[file_name];
  if (!file) {
    file = std::make_unique<TensorFileWriter>(temporary() / file_name);
  }
  file->add(name, tensor);
}

void CheckpointWriter::hand_in() {
  Manifest part;
  for (const auto& [name, file] : files_) {
    if (name != files_.begin()->first) at_point_("save-file");
    add_file(part, name, file->finish());
  }
  files_.clear();
  write_text(part_path(rank_), to_json(part));
}

void CheckpointWriter::add_text(Manifest& manifest, const std::string& name, std::string_view text) const {
  write_text(temporary() / name, text);
  manifest.files.push_back({name, text.size(), crc32c(std::as_bytes(std::span(text)))});
}

fs::path CheckpointWriter::finish(Manifest manifest, std::string_view config_yaml, std::string_view state_json,
                                  const std::map<std::string, std::string>& others) {
  manifest.update = update_;
  manifest.files.clear();
  manifest.tensors.clear();
  for (int rank = 0; rank < manifest.vertex_parallel * manifest.data_parallel; ++rank) {
    if (!path_exists(part_path(rank))) {
      throw CheckpointError(fmt::format(
          "{}: rank {} handed in nothing; all ranks must see the same folder, so run.dir belongs on a shared disk",
          temporary().string(), rank));
    }
    add_part(manifest, read_manifest(part_path(rank)));
    remove_path(part_path(rank));
  }
  add_text(manifest, "config.yaml", config_yaml);
  add_text(manifest, "state.json", state_json);
  for (const auto& [name, text] : others) add_text(manifest, name, text);
  at_point_("save-manifest");
  write_text(temporary() / "manifest.json", to_json(manifest));
  sync_folder(temporary());
  open_checkpoint(temporary());
  return publish();
}

fs::path CheckpointWriter::publish() const {
  const auto folder = dir_ / folder_name(update_);
  const auto old = replaced_name(folder);
  if (path_exists(folder)) {
    remove_path(old);
    rename_path(folder, old);
  }
  at_point_("save-rename");
  rename_path(temporary(), folder);
  sync_folder(dir_);
  remove_path(old);
  return folder;
}

}  // namespace lmnet
