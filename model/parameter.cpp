#include "model/parameter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <numbers>

namespace lmnet {
namespace {

/// splitmix64: a bijection of 64-bit words good enough to turn counters into independent draws.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint64_t key_of(uint64_t seed, std::string_view name) {
  uint64_t key = mix(seed);
  for (unsigned char c : name) key = mix(key ^ c);
  return key;
}

/// A number in (0, 1) from 53 bits.
double uniform(uint64_t key, uint64_t counter) {
  return (static_cast<double>(mix(key ^ mix(counter)) >> 11) + 0.5) * 0x1p-53;
}

}  // namespace

ParameterScope ParameterScope::inside(const std::string& name) const {
  ParameterScope scope = *this;
  for (std::string& prefix : scope.prefixes) prefix += name;
  return scope;
}

void ParameterScope::add(const at::Tensor& value, const std::vector<Slot>& slots, Parameter::Initial initial,
                         std::vector<Parameter>& parameters) const {
  if (!value.defined()) return;
  Parameter parameter{part, initial, holders, leg, value, {}, {}};
  for (size_t e = 0; e < prefixes.size(); ++e) {
    int64_t offset = 0;
    for (const Slot& slot : slots) {
      parameter.views.push_back({prefixes[e] + slot.name, static_cast<int64_t>(e), offset, slot.length});
      offset += slot.length;
    }
  }
  parameters.push_back(std::move(parameter));
}

at::Tensor slice(const at::Tensor& whole, const View& view) {
  return whole.select(0, view.item).narrow(0, view.offset, view.length);
}

std::string_view to_string(Parameter::Part part) {
  switch (part) {
    case Parameter::Part::edges:
      return "edges";
    case Parameter::Part::vertices:
      return "vertices";
    case Parameter::Part::embeddings:
      return "embeddings";
    case Parameter::Part::head:
      return "head";
    case Parameter::Part::prefix:
      return "prefix";
  }
  return "";
}

bool trains(const Trains& stage, Parameter::Part part) {
  switch (part) {
    case Parameter::Part::edges:
      return stage.edges;
    case Parameter::Part::vertices:
      return stage.vertices;
    case Parameter::Part::embeddings:
      return stage.embeddings;
    case Parameter::Part::head:
      return stage.head;
    case Parameter::Part::prefix:
      return stage.prefix;
  }
  return false;
}

at::Tensor initial_value(const Parameter& parameter, const View& view, uint64_t seed) {
  using Kind = Parameter::Initial::Kind;
  const auto [kind, mean, spread] = parameter.initial;
  at::Tensor value = at::full(slice(parameter.value, view).sizes(), mean, at::kFloat);
  if (kind == Kind::constant) return value;
  uint64_t key = key_of(seed, view.name);
  float* out = value.data_ptr<float>();
  at::parallel_for(0, value.numel(), 16384, [&, kind = kind, mean = mean, spread = spread](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double first = uniform(key, 2 * i), second = uniform(key, 2 * i + 1);
      double draw = kind == Kind::uniform ? 2 * first - 1
                                          : std::sqrt(-2 * std::log(first)) * std::cos(2 * std::numbers::pi * second);
      out[i] = static_cast<float>(mean + spread * draw);
    }
  });
  return value;
}

}  // namespace lmnet
