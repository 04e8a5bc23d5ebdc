#include "trainer/bench/measuring.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "trainer/clock.h"

namespace lmnet {

double seconds_of(const std::function<void()>& work, at::Device device) {
  const auto synchronize = [&] {
    if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
  };
  synchronize();
  const auto start = Clock::now();
  work();
  synchronize();
  return seconds_since(start);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

at::Generator random_generator(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

}  // namespace lmnet
