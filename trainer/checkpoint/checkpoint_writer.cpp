#include "trainer/checkpoint/checkpoint_writer.h"

#include <fmt/format.h>

#include <span>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/checkpoint/hdf5_image.h"
#include "trainer/checkpoint/tensor_file_reader.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

/// FNV-1a over `NAME DTYPE CRC` of all that is taken from a reference.
std::string content_hash(const Manifest& manifest, const std::string& reference) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const auto& [name, tensor] : manifest.tensors) {
    if (tensor.reference != reference) continue;
    for (const unsigned char c : fmt::format("{} {} {}\n", name, hdf5_layout::name_of(tensor.dtype), tensor.crc32c))
      hash = (hash ^ c) * 0x100000001b3u;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

CheckpointWriter::CheckpointWriter(fs::path folder, int rank, SavePoint at_point)
    : folder_(std::move(folder)), rank_(rank), at_point_(at_point ? std::move(at_point) : [](const char*) {}) {}

fs::path CheckpointWriter::temporary() const {
  return temporary_name(folder_);
}

fs::path CheckpointWriter::part_path(int rank) const {
  return temporary() / fmt::format("part.{:05}.json", rank);
}

void CheckpointWriter::prepare() {
  remove_path(temporary());
  std::error_code error;
  fs::create_directories(temporary(), error);
  if (error) throw_file_error("write", temporary(), error.value());
}

void CheckpointWriter::add(const std::string& kind, const std::string& name, const at::Tensor& tensor) {
  const at::Tensor host = tensor.detach().cpu().contiguous();
  const std::span bytes(static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes());
  add(kind, {name, host.scalar_type(), host.sizes().vec(), 0, host.numel(), crc32c(bytes)}, bytes);
}

void CheckpointWriter::add(const std::string& kind, const StoredTensor& tensor, std::span<const std::byte> bytes) {
  const auto name = fmt::format("{}.{:05}.h5", kind, rank_);
  auto file = files_.find(name);
  if (file == files_.end()) {
    if (!files_.empty()) at_point_("save-file");
    file = files_.emplace(name, TensorFileWriter(temporary() / name)).first;
  }
  file->second.add(tensor, bytes);
}

void CheckpointWriter::refer(const StoredTensor& tensor, const std::string& reference_name,
                             const ManifestReference& reference) {
  part_.references[reference_name] = reference;
  part_.tensors[tensor.name] = {tensor.dtype, tensor.shape, {}, reference_name, tensor.crc32c};
}

void CheckpointWriter::hand_in(const std::stop_token& asked) {
  for (auto& [name, file] : files_) {
    if (asked.stop_requested()) return;
    add_file(part_, name, file.finish());
  }
  files_.clear();
  write_text(part_path(rank_), to_json(part_));
}

void CheckpointWriter::take_parts(Manifest& manifest) const {
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
  complete_tensors(manifest);
  for (auto& [name, reference] : manifest.references) reference.hash = content_hash(manifest, name);
}

std::string CheckpointWriter::finish(Manifest manifest, const std::map<std::string, std::string>& texts) {
  take_parts(manifest);
  for (const auto& [name, text] : texts) {
    write_text(temporary() / name, text);
    manifest.files.push_back({name, text.size(), crc32c(std::as_bytes(std::span(text)))});
  }
  at_point_("save-manifest");
  write_text(temporary() / manifest_name, to_json(manifest));
  sync_folder(temporary());
  open_checkpoint(temporary());
  return publish();
}

std::string CheckpointWriter::publish() const {
  const auto old = replaced_name(folder_);
  if (path_exists(folder_)) {
    remove_path(old);
    rename_path(folder_, old);
  }
  at_point_("save-rename");
  rename_path(temporary(), folder_);
  try {
    sync_folder(folder_.parent_path());
    remove_path(old);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "";
}

void CheckpointWriter::check(const std::stop_token& asked) const {
  for (const ManifestFile& file : part_.files) {
    if (asked.stop_requested()) return;
    const FileDigest found = digest(folder_ / file.name);
    if (found.bytes != file.bytes || found.crc32c != file.crc32c)
      throw CheckpointError(fmt::format("{}: what is read is not what was written; look after this disk",
                                        (folder_ / file.name).string()));
  }
}

}  // namespace lmnet
