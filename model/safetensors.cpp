#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "model/errors.h"

namespace lmnet {
namespace fs = std::filesystem;

/// The bytes of a whole file, read only. The file must not become shorter while it is mapped.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& file) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    int error = descriptor < 0 || ::fstat(descriptor, &status) != 0 ? errno : 0;
    if (error == 0 && !S_ISREG(status.st_mode)) error = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    size_ = static_cast<size_t>(status.st_size);
    if (error == 0 && size_ > 0) {
      begin_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
      if (begin_ == MAP_FAILED) error = errno;
    }
    if (descriptor >= 0) ::close(descriptor);
    if (error != 0)
      throw WeightsError(fmt::format("cannot read {}: {}", file.string(), std::generic_category().message(error)));
  }
  ~MappedFile() {
    if (size_ > 0) ::munmap(begin_, size_);
  }
  MappedFile(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(begin_), size_}; }

 private:
  void* begin_ = nullptr;
  size_t size_ = 0;
};

SafetensorsFile::SafetensorsFile(fs::path file)
    : path_(std::move(file)), mapping_(std::make_shared<MappedFile>(path_)) {
  const std::string_view bytes = mapping_->bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof(length))
    throw WeightsError(fmt::format("{}: {} bytes are no safetensors file", path_.string(), bytes.size()));
  std::memcpy(&length, bytes.data(), sizeof(length));
  const uint64_t behind = bytes.size() - sizeof(length);
  if (length > kLongestSafetensorsHeader)
    throw WeightsError(fmt::format("{}: a header of {} bytes is above the limit of {}; is this a safetensors file?",
                                   path_.string(), length, kLongestSafetensorsHeader));
  if (length > behind)
    throw WeightsError(
        fmt::format("{}: its header has {} bytes, but only {} are left in the file", path_.string(), length, behind));
  data_begin_ = sizeof(length) + length;
  tensors_ = parse_safetensors_header(bytes.substr(sizeof(length), length), behind - length, path_.string());
}

at::Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  const char* begin = mapping_->bytes().data() + data_begin_ + entry.begin;
  if (entry.bytes() > 0 && reinterpret_cast<uintptr_t>(begin) % c10::elementSize(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, entry.dtype);
    std::memcpy(copy.data_ptr(), begin, entry.bytes());
    return copy;
  }
  return at::from_blob(
      const_cast<char*>(begin), entry.shape, [mapping = mapping_](void*) {}, entry.dtype);
}

std::optional<fs::path> SafetensorsFolder::find(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (std::error_code ignored; fs::exists(folder / name, ignored)) return folder / name;
  return {};
}

SafetensorsFolder::SafetensorsFolder(const fs::path& folder_or_file) : path_(folder_or_file) {
  fs::path first = path_;
  if (std::error_code ignored; fs::is_directory(path_, ignored)) {
    auto found = find(path_);
    if (!found)
      throw WeightsError(
          fmt::format("{}: neither model.safetensors nor model.safetensors.index.json is there; weights in another "
                      "format must be saved again by transformers' save_pretrained",
                      path_.string()));
    first = *found;
  }
  if (first.native().ends_with(".index.json")) {
    open_shards(first);
  } else {
    files_.emplace_back(first);
    list_tensors();
  }
}

void SafetensorsFolder::list_tensors() {
  for (const SafetensorsFile& file : files_)
    for (const SafetensorsEntry& entry : file.tensors())
      if (!tensors_.emplace(entry.name, Place{&file, &entry}).second)
        throw WeightsError(fmt::format("{}: tensor \"{}\" is in another file of this folder too", file.path().string(),
                                       shown(entry.name)));
}

void SafetensorsFolder::open_shards(const fs::path& index) {
  const auto weight_map = parse_safetensors_index(MappedFile(index).bytes(), index.string());
  std::map<std::string, std::string> shards;  // file → a tensor it must hold
  for (const auto& [tensor, shard] : weight_map) shards.emplace(shard, tensor);
  for (const auto& [shard, tensor] : shards) {
    if (std::error_code ignored; !fs::exists(index.parent_path() / shard, ignored))
      throw WeightsError(
          fmt::format("{}: {}, which holds tensor \"{}\", is missing", index.string(), shown(shard), shown(tensor)));
    files_.emplace_back(index.parent_path() / shard);
  }
  list_tensors();
  for (const auto& [tensor, shard] : weight_map) {
    auto found = tensors_.find(tensor);
    const std::string there = found == tensors_.end() ? "no file" : found->second.file->path().filename().string();
    if (there != shard)
      throw WeightsError(fmt::format("{}: tensor \"{}\" should be in {}, but {} has it", index.string(), shown(tensor),
                                     shown(shard), there));
  }
  for (const auto& [tensor, place] : tensors_)
    if (!weight_map.contains(tensor))
      throw WeightsError(fmt::format("{}: tensor \"{}\" of {} is not in the index", index.string(), shown(tensor),
                                     place.file->path().filename().string()));
}

at::Tensor SafetensorsFolder::tensor(std::string_view name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw WeightsError(fmt::format("{}: tensor \"{}\" is missing", path_.string(), shown(name)));
  return found->second.file->tensor(*found->second.entry);
}

}  // namespace lmnet
