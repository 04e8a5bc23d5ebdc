#include "trainer/checkpoint/checkpoint_reader.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace fs = std::filesystem;

CheckpointReader::CheckpointReader(fs::path folder) : folder_(std::move(folder)), manifest_(open_checkpoint(folder_)) {}

const ManifestTensor& CheckpointReader::tensor(const std::string& name) const {
  const auto found = manifest_.tensors.find(name);
  if (found == manifest_.tensors.end())
    throw CheckpointError(fmt::format("{} has no tensor '{}'", folder_.string(), name));
  return found->second;
}

at::Tensor CheckpointReader::read_piece(const std::string& name, const ManifestTensor& tensor,
                                        const ManifestPiece& piece) const {
  auto file = files_.find(piece.file);
  if (file == files_.end()) file = files_.emplace(piece.file, TensorFileReader(folder_ / piece.file)).first;
  const StoredTensor& stored = file->second.tensor(name);
  // A file of another checkpoint fits in itself.
  if (stored.dtype != tensor.dtype || stored.shape != tensor.shape || stored.offset != piece.offset ||
      stored.length != piece.length || stored.crc32c != piece.crc32c)
    throw CheckpointError(fmt::format("{}: tensor '{}' is not the one that {} tells of",
                                      (folder_ / piece.file).string(), name, (folder_ / manifest_name).string()));
  return file->second.read(name);
}

at::Tensor CheckpointReader::read_reference(const std::string& name, const ManifestTensor& tensor) const {
  const ManifestReference& reference = manifest_.references.at(tensor.reference);
  ReadReference& source = references_[tensor.reference];
  if (!source)
    source = open_reference(folder_, tensor.reference, reference, reference.kind == "checkpoint" ? "" : state_json());
  const at::Tensor value = source(name).to(tensor.dtype).contiguous();
  const std::span bytes(static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes());
  if (value.sizes() != tensor.shape || crc32c(bytes) != tensor.crc32c)
    throw CheckpointError(fmt::format(
        "{}: {} holds another tensor '{}' than when the checkpoint was saved; put back what was there, or a link to it",
        folder_.string(), reference_path(folder_, reference).string(), name));
  return value;
}

void CheckpointReader::verify_references() const {
  for (const auto& [name, tensor] : manifest_.tensors)
    if (!tensor.reference.empty()) read_reference(name, tensor);
}

at::Tensor CheckpointReader::read(const std::string& name) const {
  const ManifestTensor& stored = tensor(name);
  if (!stored.reference.empty()) return read_reference(name, stored);
  if (stored.pieces.size() == 1) return read_piece(name, stored, stored.pieces.front());
  return read(name, 0, stored.elements()).view(stored.shape);
}

at::Tensor CheckpointReader::read(const std::string& name, int64_t begin, int64_t end) const {
  const ManifestTensor& stored = tensor(name);
  if (!stored.reference.empty()) return read_reference(name, stored).view(-1).slice(0, begin, end);
  const at::Tensor values = at::empty({end - begin}, stored.dtype);
  for (const ManifestPiece& piece : stored.pieces) {
    const int64_t first = std::max(begin, piece.offset), last = std::min(end, piece.offset + piece.length);
    if (first >= last) continue;
    values.narrow(0, first - begin, last - first)
        .copy_(read_piece(name, stored, piece).view(-1).narrow(0, first - piece.offset, last - first));
  }
  return values;
}

at::Tensor CheckpointReader::read_exact(const std::string& name) const {
  const std::string master = name + "@master";
  return read(has(master) ? master : name);
}

std::string CheckpointReader::read_checked(const std::string& name) const {
  const auto path = folder_ / name;
  const auto file = std::ranges::find(manifest_.files, name, &ManifestFile::name);
  if (file == manifest_.files.end())
    throw CheckpointError(fmt::format("{} is not part of the checkpoint", path.string()));
  auto text = read_text(path);
  if (crc32c(std::as_bytes(std::span(text))) != file->crc32c)
    throw CheckpointError(fmt::format("{}: damaged, its bytes do not match their checksum", path.string()));
  return text;
}

void require_shape(const at::Tensor& value, at::IntArrayRef shape, std::string_view what) {
  if (value.sizes() == shape) return;
  throw CheckpointError(fmt::format("{} has the shape [{}], but in this network it is [{}]", what,
                                    fmt::join(value.sizes(), ", "), fmt::join(shape, ", ")));
}

}  // namespace lmnet
