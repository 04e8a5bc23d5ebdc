#include "trainer/cost/module.h"

#include <algorithm>

namespace lmnet {
namespace {

/// Scores and values of `width` = H·K, causal: half of the square on average.
double attention_flops(int64_t width, int64_t length) {
  return static_cast<double>(2 * 2 * width * length) / 2;
}

int64_t norm_parameters(const BackboneConfig& b) {
  return b.gpt2() ? 2 * b.hidden_size : b.hidden_size;
}

/// D×D with bias.
ModuleCost linear_cost(int64_t d) {
  const auto width = static_cast<double>(d);
  return {.parameters = d * d + d, .weights = width * width, .saved_too = width, .temporaries = 2 * width};
}

/// The block's links of an edge, as model/edge.h names them.
ModuleCost attention_cost(const BackboneConfig& b, int64_t length) {
  const int64_t d = b.hidden_size;
  const auto width = static_cast<double>(d);
  // Kept: queries, keys, values, attention's output, before the norm, before GELU; too: input, behind the norm (twice
  // in a stack, whose norm is scaled apart).
  return {.parameters = 5 * d * d + 7 * d,
          .weights = 5 * width * width,
          .attention = attention_flops(d, length),
          .saved = 6 * width,
          .saved_too = 3 * width,
          .statistics = static_cast<double>(b.heads),
          .temporaries = 8 * width};
}

ModuleCost mlp_cost(const BackboneConfig& b) {
  const int64_t d = b.hidden_size, half = d / 2;
  const auto width = static_cast<double>(d);
  return {.parameters = 2 * d * half + half + d,
          .weights = width * width,
          .saved = 1.5 * width,
          .saved_too = 1.5 * width,
          .temporaries = 3 * width};
}

ModuleCost link_cost(EdgeKind kind, const BackboneConfig& b, int64_t length) {
  switch (kind) {
    case EdgeKind::block:
      return block_cost(b, length) + linear_cost(b.hidden_size);
    case EdgeKind::attention:
      return attention_cost(b, length);
    case EdgeKind::mlp:
      return mlp_cost(b);
    case EdgeKind::linear:
      return linear_cost(b.hidden_size);
  }
  return {};
}

}  // namespace

ModuleCost operator+(const ModuleCost& a, const ModuleCost& b) {
  return {.parameters = a.parameters + b.parameters,
          .weights = a.weights + b.weights,
          .attention = a.attention + b.attention,
          .saved = a.saved + b.saved,
          .saved_too = a.saved_too + b.saved_too,
          .statistics = a.statistics + b.statistics,
          .temporaries = std::max(a.temporaries, b.temporaries)};
}

ModuleCost operator*(int64_t times, const ModuleCost& cost) {
  ModuleCost all;
  for (int64_t i = 0; i < times; ++i) all = all + cost;
  return all;
}

ModuleCost block_cost(const BackboneConfig& b, int64_t length) {
  const int64_t d = b.hidden_size, q = b.heads * b.head_width, qkv = b.qkv_width(), f = b.intermediate_size;
  const int64_t up = b.gpt2() ? f : 2 * f;
  int64_t biases = b.qkv_bias ? qkv : 0;
  if (b.gpt2()) biases += f + 2 * d;
  const int64_t matrices = d * (qkv + q + up + f);
  return {.parameters = matrices + biases + 2 * norm_parameters(b),
          .weights = static_cast<double>(matrices),
          .attention = attention_flops(q, length),
          .saved = static_cast<double>(2 * d + qkv + q + up),
          .saved_too = static_cast<double>(2 * d + f),
          .statistics = static_cast<double>(b.heads),
          .temporaries = static_cast<double>(2 * d + std::max(up + f, 2 * (qkv + q)))};
}

ModuleCost vertex_cost(const BackboneConfig& b, int64_t length) {
  const ModuleCost norm{.parameters = norm_parameters(b), .saved = static_cast<double>(b.hidden_size)};
  return b.blocks * block_cost(b, length) + norm;
}

ModuleCost edge_cost(const EdgeKinds& kinds, const BackboneConfig& backbone, int64_t length) {
  ModuleCost cost;
  for (const EdgeKind kind : kinds) cost = cost + link_cost(kind, backbone, length);
  return cost;
}

int64_t embedding_parameters(const NetworkShape& shape) {
  const BackboneConfig& b = shape.backbone;
  return b.hidden_size * (b.vocabulary + (b.gpt2() ? b.positions : 0));
}

}  // namespace lmnet
