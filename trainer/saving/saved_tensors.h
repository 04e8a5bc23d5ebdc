#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "trainer/checkpoint/stored_tensor.h"
#include "trainer/optimizer.h"

namespace lmnet {

/// The kind of file that the parameters of a part stand in.
const char* file_kind(Parameter::Part part);

/// What of a parameter's optimiser state a name in a checkpoint stands for: `@master`, `@exp_avg`, `@exp_avg_sq`.
const char* suffix_of(Optimizer::Kind kind);

/// A tensor, or a piece of one, that a rank gives to a checkpoint.
struct SavedTensor {
  std::string kind;         // of its file; "" where it is not written
  StoredTensor what;        // its CRC comes with the snapshot
  at::Tensor source;        // contiguous, as the network or the optimiser keeps it
  std::string reference{};  // where it is found elsewhere
};

/// What this rank gives to a checkpoint: of the values, which stand whole on all ranks of a replica group, its share of
/// tensors; of master weights and moments those elements that it owns. Local, the same split on all ranks.
/// `reference_of`: the references of frozen parameters, which count unless a parameter has trained; of `written` (may
/// be empty) they are made now.
std::vector<SavedTensor> saved_tensors(const Optimizer& optimizer, const Mesh& mesh,
                                       const std::map<std::string, std::string>& reference_of,
                                       const std::string& written);

}  // namespace lmnet
