#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "model/network.h"

namespace lmnet {

/// What a module costs for one position (a token, or a vector of the prefix) of one row, without building it. Kept for
/// the backward pass is what the operations of model/block.cpp, attention.cpp, edge.cpp and model/kernels save: with D
/// width, q = H·K, w = (H + 2G)·K, F feed-forward width, a block keeps 2D before its norms, w of queries, keys and
/// values, q of attention's output, 2F before SwiGLU (F before GELU), H sums of exponentials; and, where its weights
/// train, 2D behind its norms and F before the last product.
struct ModuleCost {
  int64_t parameters = 0;
  double weights = 0;      // multiply-adds with weights
  double attention = 0;    // FLOP of scores and values, forward
  double saved = 0;        // elements of the compute dtype kept for backward, whatever trains
  double saved_too = 0;    // those kept only where the module's weights train
  double statistics = 0;   // elements of the accumulation dtype kept for backward
  double temporaries = 0;  // elements of the compute dtype that backward holds at its widest point

  double forward_flops() const { return 2 * weights + attention; }
  /// Gradient of the input where `through`, of the weights where `trained`.
  double backward_flops(bool trained, bool through) const {
    return weights * ((through ? 2 : 0) + (trained ? 2 : 0)) + (through ? 2 * attention : 0);
  }
  /// Kept for backward in a walk that records the module.
  double saved_bytes(bool trained, int64_t width, int64_t accumulation) const {
    return (saved + (trained ? saved_too : 0)) * static_cast<double>(width) +
           statistics * static_cast<double>(accumulation);
  }
};

/// Modules one after the other.
ModuleCost operator+(const ModuleCost& a, const ModuleCost& b);
ModuleCost operator*(int64_t times, const ModuleCost& cost);

/// Of rows of `length` positions.
ModuleCost block_cost(const BackboneConfig& backbone, int64_t length);
/// Blocks and the final norm.
ModuleCost vertex_cost(const BackboneConfig& backbone, int64_t length);
ModuleCost edge_cost(const EdgeKinds& kinds, const BackboneConfig& backbone, int64_t length);
/// The tables of the text's input end: tokens, learned positions; without the prefix.
int64_t embedding_parameters(const NetworkShape& shape);

}  // namespace lmnet
