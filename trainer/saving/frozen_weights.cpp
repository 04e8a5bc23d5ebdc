#include "trainer/saving/frozen_weights.h"

#include <filesystem>

#include "trainer/saving/partial_load.h"

namespace lmnet {

namespace fs = std::filesystem;

FrozenWeights frozen_weights(const ModelSpec& spec, const LoadConfig& load, const Optimizer& optimizer, bool copy) {
  FrozenWeights frozen;
  for (const std::string& name : optimizer.names()) {
    const Parameter::Part part = optimizer.parameter(name).part;
    const auto [group, files] = backbone_of(spec, part, name);
    const bool drawn = files == nullptr || files->kind == BackboneFiles::Kind::none;
    if (drawn && !loads(load, part)) continue;
    if (copy || loads(load, part) || files->kind == BackboneFiles::Kind::checkpoint) {
      frozen.reference_of[name] = kFrozenCopy;
      continue;
    }
    const std::string key = group.empty() ? "backbone" : "backbone." + group;
    frozen.reference_of[name] = key;
    frozen.references[key] = {"hugging_face", fs::weakly_canonical(fs::absolute(files->path)).string(), ""};
  }
  return frozen;
}

FrozenWeights frozen_weights(const CheckpointReader& checkpoint, bool own, bool copy) {
  FrozenWeights frozen;
  bool all_there = own;  // in the copy
  for (const auto& [name, tensor] : checkpoint.manifest().tensors) {
    if (tensor.reference.empty()) continue;
    const ManifestReference& reference = checkpoint.manifest().references.at(tensor.reference);
    const bool copied = reference.kind == "checkpoint";
    frozen.reference_of[name] = copied || copy ? kFrozenCopy : tensor.reference;
    frozen.checksums[name] = tensor.crc32c;
    if (copied || !copy) frozen.references[tensor.reference] = reference;
    if (copy && !copied) all_there = false;
  }
  if (!all_there) frozen.references.erase(kFrozenCopy);
  return frozen;
}

}  // namespace lmnet
