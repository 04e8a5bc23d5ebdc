#include "trainer/inspect/weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "model/hugging_face.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/describe.h"
#include "trainer/hugging_face/network_config.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void check_finite(const SafetensorsFile& file, const SafetensorsEntry& entry) {
  constexpr int64_t kAtOnce = 1 << 20;  // the test makes copies
  const at::Tensor values = file.tensor(entry).flatten();
  for (int64_t begin = 0; begin < values.numel(); begin += kAtOnce) {
    const at::Tensor some = values.narrow(0, begin, std::min(kAtOnce, values.numel() - begin));
    // Floating point types of a byte know no arithmetic of their own.
    const bool finite = at::isfinite(at::isFloatingType(entry.dtype) ? some.to(at::kDouble) : some).all().item<bool>();
    if (!finite)
      throw WeightsError(fmt::format("{}: tensor \"{}\" has values that are no finite numbers", file.path().string(),
                                     shown(entry.name)));
  }
}

/// That the weights of a folder are those which its config.json asks for.
void check_config(const fs::path& folder, const fs::path& config, const SafetensorsFolder& weights) {
  const std::string text = read_text(config);
  if (is_network_config(text))
    check_network_weights(weights, folder, resolve_model(read_network_config(text, config.string()).model));
  else
    BackboneWeights(folder, BackboneConfig::from_json(text, config.string()));
}

Json to_json(const fs::path& what, const SafetensorsFolder& weights, bool verified) {
  Json tensors = Json::array();
  for (const SafetensorsFile& file : weights.files())
    for (const SafetensorsEntry& entry : file.tensors())
      tensors.push_back({{"name", entry.name},
                         {"dtype", safetensors_dtype(entry.dtype)},
                         {"shape", entry.shape},
                         {"file", file.path().filename().string()}});
  return {{"kind", "safetensors"}, {"path", what.string()}, {"verified", verified}, {"tensors", std::move(tensors)}};
}

std::string to_text(const fs::path& what, const SafetensorsFolder& weights, bool verified) {
  std::string lines;
  double values = 0, bytes = 0;
  for (const SafetensorsFile& file : weights.files()) {
    if (weights.files().size() > 1) lines += file.path().filename().string() + "\n";
    for (const SafetensorsEntry& entry : file.tensors()) {
      lines += fmt::format("  {:<56} {} [{}]\n", shown(entry.name), safetensors_dtype(entry.dtype),
                           fmt::join(entry.shape, ", "));
      bytes += static_cast<double>(entry.bytes());
      values += static_cast<double>(entry.bytes() / c10::elementSize(entry.dtype));
    }
  }
  return fmt::format("weights {}: {}, {} values, {}{}\n{}", what.string(),
                     counted(std::ssize(weights.tensors()), "tensor"), short_count(values), short_count(bytes, "B"),
                     verified ? " · all values are finite" : "", lines);
}

}  // namespace

bool has_safetensors(const fs::path& what) {
  if (fs::is_directory(what)) return SafetensorsFolder::find(what).has_value();
  return what.extension() == ".safetensors" || what.native().ends_with(".safetensors.index.json");
}

std::string inspect_weights(const fs::path& what, const InspectOptions& options) {
  const SafetensorsFolder weights(what);
  if (const fs::path config = what / "config.json"; fs::is_directory(what) && fs::exists(config))
    check_config(what, config, weights);
  if (options.verify)
    for (const SafetensorsFile& file : weights.files())
      for (const SafetensorsEntry& entry : file.tensors()) check_finite(file, entry);
  return options.json ? to_json(what, weights, options.verify).dump() + "\n" : to_text(what, weights, options.verify);
}

}  // namespace lmnet
