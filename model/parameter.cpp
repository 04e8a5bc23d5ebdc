#include "model/parameter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <numbers>

namespace lmnet {
namespace {

constexpr double kStandardDeviation = 0.02;

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
  }
  return false;
}

at::Tensor initial_value(const Parameter& parameter, const View& view, uint64_t seed) {
  at::Tensor value = at::zeros(slice(parameter.value, view).sizes(), at::kFloat);
  if (parameter.initial == Parameter::Initial::ones) value.fill_(1);
  if (parameter.initial == Parameter::Initial::normal) {
    uint64_t key = key_of(seed, view.name);
    float* out = value.data_ptr<float>();
    at::parallel_for(0, value.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double radius = std::sqrt(-2 * std::log(uniform(key, 2 * i)));
        out[i] =
            static_cast<float>(kStandardDeviation * radius * std::cos(2 * std::numbers::pi * uniform(key, 2 * i + 1)));
      }
    });
  }
  return value;
}

}  // namespace lmnet
