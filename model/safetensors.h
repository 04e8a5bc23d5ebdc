#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/safetensors_header.h"

namespace lmnet {

class MappedFile;

/// A .safetensors file, mapped into memory: its tensors are views of the file, read when they are touched.
class SafetensorsFile {
 public:
  /// Reads and checks the header. Throws WeightsError naming the file and, where there is one, the tensor.
  explicit SafetensorsFile(std::filesystem::path file);

  const std::filesystem::path& path() const { return path_; }
  /// In the order of their bytes.
  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }
  /// The tensor of an entry of this file, to be read only; it keeps the mapping alive. No copy is made, unless the file
  /// puts its bytes where values of this dtype must not lie.
  at::Tensor tensor(const SafetensorsEntry& entry) const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> mapping_;
  std::vector<SafetensorsEntry> tensors_;
  uint64_t data_begin_ = 0;
};

/// The tensors of a folder's `model.safetensors`, of all the files that its `model.safetensors.index.json` names, or of
/// one file.
class SafetensorsFolder {
 public:
  struct Place {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };

  /// Throws WeightsError: no weights there, a missing or broken file, and every tensor that is in another file than the
  /// index says, in none, or in one but not in the index.
  explicit SafetensorsFolder(const std::filesystem::path& folder_or_file);
  SafetensorsFolder(const SafetensorsFolder&) = delete;

  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::map<std::string, Place, std::less<>>& tensors() const { return tensors_; }
  /// Throws WeightsError when there is none of that name. As SafetensorsFile::tensor().
  at::Tensor tensor(std::string_view name) const;

  /// The file or else the index that a folder's weights begin with.
  static std::optional<std::filesystem::path> find(const std::filesystem::path& folder);

 private:
  void open_shards(const std::filesystem::path& index);
  void list_tensors();

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place, std::less<>> tensors_;
};

/// Gives the value of a tensor that is being written, in the shape of its entry, any dtype and device.
using TensorSource = std::function<at::Tensor(const SafetensorsEntry&)>;

/// Writes `tensors` in this order as one file, converted to their entries' dtypes; asks for one value after the other.
/// The file is there whole or not at all. Throws WeightsError.
void write_safetensors(const std::filesystem::path& file, std::vector<SafetensorsEntry> tensors,
                       const TensorSource& value);

/// Writes `model.safetensors` into a folder, or, where that had more than `shard_bytes` of data (Hugging Face's limit),
/// files of at most so many (a single tensor may have more) and their index. Throws WeightsError, also when the folder
/// has weights already: files of both would mix.
void write_safetensors_folder(const std::filesystem::path& folder, const std::vector<SafetensorsEntry>& tensors,
                              const TensorSource& value, uint64_t shard_bytes = 5'000'000'000);

}  // namespace lmnet
