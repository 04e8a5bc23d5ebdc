#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// The longest header of a .safetensors file that is read, in bytes, and the longest index; Hugging Face's limit.
inline constexpr uint64_t kLongestSafetensorsHeader = 100'000'000;

/// One tensor as a .safetensors file describes it.
struct SafetensorsEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // its bytes within the data part of the file

  /// Number of values times their size.
  uint64_t bytes() const;
};

/// `F32`, `BF16`, …: the format's name of a dtype. Throws WeightsError for one that it has not.
std::string_view safetensors_dtype(at::ScalarType dtype);

/// The tensors of a header (the JSON text after the length), in the order of their bytes. Source: the format's
/// description in safetensors' README. Throws WeightsError, starting with `file` and naming the tensor, unless every
/// one of the `data_bytes` bytes belongs to exactly one tensor, of a known dtype and as many bytes as its shape takes.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                       const std::string& file);

/// The header of a file that holds `tensors` in this order, padded with spaces so that data begin at a multiple of 8
/// bytes; sets their `begin` and `end`.
std::string write_safetensors_header(std::vector<SafetensorsEntry>& tensors);

/// The `weight_map` of a `model.safetensors.index.json`: tensor → name of the file beside the index that holds it.
/// Throws WeightsError, starting with `file`.
std::map<std::string, std::string> parse_safetensors_index(std::string_view text, const std::string& file);

}  // namespace lmnet
