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
  enum class Part { edges, vertices, embeddings, head, prefix };
  /// N(mean, spread²), U(mean - spread, mean + spread), or the mean itself.
  struct Initial {
    enum class Kind { normal, uniform, constant } kind = Kind::normal;
    double mean = 0, spread = 0.02;
    bool drawn() const { return kind != Kind::constant; }
    static Initial zeros() { return {Kind::constant, 0, 0}; }
    static Initial ones() { return {Kind::constant, 1, 0}; }
  };

  Part part = Part::edges;
  Initial initial;
  Holders holders;      // the ranks of the vertex-parallel group with the same storage
  int leg = 0;          // the first that uses it: a forward needs it from here on, a backward is done with it here
  at::Tensor value;     // compute dtype; a leaf of autograd that requires a gradient while it trains
  at::Tensor gradient;  // same shape, fp32 (fp64 for fp64): summed over uses and micro-batches; bound while it trains
  std::vector<View> views;

  /// Weight decay goes by the single parameter: a matrix, a bias, or else a norm's weight.
  bool matrix() const { return value.dim() >= 3; }
  bool bias() const { return views.front().name.ends_with(".bias"); }
};

/// Where a module's storage goes when Network lists its parameters: the canonical prefix of each stacked module.
struct ParameterScope {
  /// A part of a storage's rows that is a parameter of its own.
  struct Slot {
    const char* name;
    int64_t length;
  };

  std::vector<std::string> prefixes;  // E names such as `edges.1.0-3.`
  Parameter::Part part = Parameter::Part::edges;
  Holders holders = {};
  int leg = 0;

  /// The scope of a part of each module.
  ParameterScope inside(const std::string& name) const;
  /// Adds one storage [E, rows, …], whose rows are the slots one after the other; nothing if it is undefined.
  void add(const at::Tensor& value, const std::vector<Slot>& slots, Parameter::Initial initial,
           std::vector<Parameter>& parameters) const;
};

/// The slice of `whole` (a tensor of the storage's shape) that belongs to `view`.
at::Tensor slice(const at::Tensor& whole, const View& view);

std::string_view to_string(Parameter::Part part);
bool trains(const Trains& stage, Parameter::Part part);

/// The first value of a parameter, fp32, drawn by a counter-based generator keyed by (seed, name), so that it is the
/// same for every layout.
at::Tensor initial_value(const Parameter& parameter, const View& view, uint64_t seed);

}  // namespace lmnet
