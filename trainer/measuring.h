#pragma once
#include <ATen/core/Generator.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace lmnet {

/// Wall-clock time of `work`.
double seconds_of(const std::function<void()>& work);

/// Of one value or more.
double median(std::vector<double> values);

at::Generator random_generator(uint64_t seed);

}  // namespace lmnet
