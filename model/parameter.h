#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/graph/layout.h"

namespace lmnet {

/// A parameter by its canonical name, as a slice of the storage that the network computes with:
/// storage[item].narrow(0, offset, length).
struct View {
  std::string name;
  int64_t item = 0, offset = 0, length = 0;
};

/// Storage of one or more parameters: [E, …], E modules that run as one product (E = 1 for vertices and the two ends).
struct Parameter {
  enum class Part { edges, vertices, embeddings, head };
  enum class Initial { normal, zeros, ones };

  Part part = Part::edges;
  Initial initial = Initial::normal;
  Holders holders;      // the ranks of the vertex-parallel group with the same storage
  at::Tensor value;     // compute dtype; a leaf of autograd that requires a gradient while it trains
  at::Tensor gradient;  // same shape, fp32 (fp64 for fp64): summed over uses and micro-batches; bound while it trains
  std::vector<View> views;

  /// Weight decay goes by the single parameter's shape: matrices only.
  bool matrix() const { return value.dim() >= 3; }
};

/// The slice of `whole` (a tensor of the storage's shape) that belongs to `view`.
at::Tensor slice(const at::Tensor& whole, const View& view);

std::string_view to_string(Parameter::Part part);
bool trains(const Trains& stage, Parameter::Part part);

/// The first value of a parameter, fp32: N(0, 0.02²) for weights, drawn
/// by a counter-based generator keyed by (seed, name), so that it is the same for every layout.
at::Tensor initial_value(const Parameter& parameter, const View& view, uint64_t seed);

}  // namespace lmnet
