#include "trainer/saving/saved_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace lmnet {
namespace {

/// Deals the tensors of one replica group over its ranks, the largest first, each to the one that has least so far;
/// keeps what is this rank's.
void deal(std::vector<SavedTensor> tensors, const Holders& holders, const Mesh& mesh, std::vector<SavedTensor>& mine) {
  std::ranges::sort(tensors, [](const SavedTensor& a, const SavedTensor& b) {
    return std::tuple(b.what.length, a.what.name) < std::tuple(a.what.length, b.what.name);
  });
  const auto at = std::ranges::find(holders, mesh.vp_rank) - holders.begin();
  const auto own = static_cast<size_t>(mesh.dp_rank) * holders.size() + static_cast<size_t>(at);
  std::vector<int64_t> loads(static_cast<size_t>(mesh.dp_size) * holders.size(), 0);
  for (SavedTensor& tensor : tensors) {
    const auto least = std::ranges::min_element(loads);
    *least += tensor.what.length + 1;  // so that small ones are spread too
    if (static_cast<size_t>(least - loads.begin()) == own) mine.push_back(std::move(tensor));
  }
}

}  // namespace

const char* file_kind(Parameter::Part part) {
  switch (part) {
    case Parameter::Part::edges:
      return "edges";
    case Parameter::Part::vertices:
      return "vertices";
    default:
      return "embeddings";
  }
}

const char* suffix_of(Optimizer::Kind kind) {
  switch (kind) {
    case Optimizer::Kind::master:
      return "@master";
    case Optimizer::Kind::exp_avg:
      return "@exp_avg";
    case Optimizer::Kind::exp_avg_sq:
      return "@exp_avg_sq";
    default:
      return "";
  }
}

std::vector<SavedTensor> saved_tensors(const Optimizer& optimizer, const Mesh& mesh,
                                       const std::map<std::string, std::string>& reference_of,
                                       const std::string& written) {
  std::map<Holders, std::vector<SavedTensor>> by_holders;
  for (const std::string& name : optimizer.names()) {
    const Parameter& parameter = optimizer.parameter(name);
    const at::Tensor value = optimizer.value(name);
    SavedTensor tensor{
        file_kind(parameter.part), {name, value.scalar_type(), value.sizes().vec(), 0, value.numel()}, value};
    if (const auto found = reference_of.find(name); found != reference_of.end() && !optimizer.ever_trained(name)) {
      tensor.reference = found->second;
      if (tensor.reference != written) tensor.kind.clear();
    }
    by_holders[parameter.holders].push_back(std::move(tensor));
  }
  std::vector<SavedTensor> mine;
  for (auto& [holders, tensors] : by_holders) deal(std::move(tensors), holders, mesh, mine);
  for (const Optimizer::Kept& kept : optimizer.kept_once())
    mine.push_back({"optimizer",
                    {kept.name + suffix_of(kept.kind), kept.values.scalar_type(),
                     optimizer.value(kept.name).sizes().vec(), kept.offset, kept.values.numel()},
                    kept.values});
  // File by file.
  std::ranges::stable_sort(mine, {}, &SavedTensor::kind);
  return mine;
}

}  // namespace lmnet
