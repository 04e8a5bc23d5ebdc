#pragma once
#include <ATen/core/Generator.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace lmnet {

/// Wall-clock time of `work`, until `device` has done it.
double seconds_of(const std::function<void()>& work, at::Device device = at::kCPU);

/// Of one value or more.
double median(std::vector<double> values);

at::Generator random_generator(uint64_t seed);

}  // namespace lmnet
