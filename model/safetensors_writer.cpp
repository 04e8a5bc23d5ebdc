#include <ATen/ATen.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "model/errors.h"
#include "model/safetensors.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

/// A file under a temporary name, which goes away again unless finish() gives it its own.
class NewFile {
 public:
  explicit NewFile(fs::path file)
      : file_(std::move(file)),
        temporary_(file_.parent_path() / fmt::format(".{}.tmp", file_.filename().string())),
        descriptor_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) fail(errno);
  }
  ~NewFile() {
    ::close(descriptor_);
    if (!finished_) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
      if (count < 0 && errno != EINTR) fail(errno);
      if (count > 0) bytes.remove_prefix(static_cast<size_t>(count));
    }
  }

  void finish() {
    if (::fsync(descriptor_) != 0 || ::rename(temporary_.c_str(), file_.c_str()) != 0) fail(errno);
    finished_ = true;
    // The new name itself is safe only with its folder.
    const fs::path folder = file_.has_parent_path() ? file_.parent_path() : ".";
    const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = handle >= 0 && ::fsync(handle) == 0;
    const int error = errno;
    if (handle >= 0) ::close(handle);
    if (!synced) fail(error);
  }

 private:
  [[noreturn]] void fail(int error) const {
    throw WeightsError(fmt::format("cannot write {}: {}", file_.string(), std::generic_category().message(error)));
  }

  fs::path file_, temporary_;
  int descriptor_;
  bool finished_ = false;
};

void write_text(const fs::path& file, std::string_view text) {
  NewFile out(file);
  out.write(text);
  out.finish();
}

/// Runs of consecutive tensors of at most `shard_bytes` in total, or of one tensor.
std::vector<std::vector<SafetensorsEntry>> shards_of(const std::vector<SafetensorsEntry>& tensors,
                                                     uint64_t shard_bytes) {
  std::vector<std::vector<SafetensorsEntry>> shards(1);
  uint64_t bytes = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    if (!shards.back().empty() && bytes + tensor.bytes() > shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += tensor.bytes();
    shards.back().push_back(tensor);
  }
  return shards;
}

}  // namespace

void write_safetensors(const fs::path& file, std::vector<SafetensorsEntry> tensors, const TensorSource& value) {
  const std::string header = write_safetensors_header(tensors);
  const uint64_t length = header.size();
  NewFile out(file);
  out.write({reinterpret_cast<const char*>(&length), sizeof(length)});
  out.write(header);
  for (const SafetensorsEntry& tensor : tensors) {
    const at::Tensor bytes = value(tensor).detach().to(at::kCPU, tensor.dtype).contiguous();
    if (bytes.sizes() != at::IntArrayRef(tensor.shape))
      throw WeightsError(fmt::format("cannot write {}: tensor \"{}\" is not of its shape", file.string(), tensor.name));
    out.write({static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()});
  }
  out.finish();
}

void write_safetensors_folder(const fs::path& folder, const std::vector<SafetensorsEntry>& tensors,
                              const TensorSource& value, uint64_t shard_bytes) {
  if (auto old = SafetensorsFolder::find(folder))
    throw WeightsError(fmt::format("cannot write weights into {}: {} is there; give a new folder", folder.string(),
                                   old->filename().string()));
  const auto shards = shards_of(tensors, shard_bytes);
  if (shards.size() == 1) return write_safetensors(folder / "model.safetensors", tensors, value);
  nlohmann::json weight_map;
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write_safetensors(folder / name, shards[i], value);
    for (const SafetensorsEntry& tensor : shards[i]) {
      weight_map[tensor.name] = name;
      total += tensor.bytes();
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace lmnet
