#pragma once
#include <c10/core/Device.h>

namespace lmnet::test {

/// A device that is not the CPU, for machines that have none: it keeps its tensors in host memory and computes on the
/// CPU, but its tensors are none of the CPU's. An operator that gets tensors of both throws c10::Error, as on a GPU;
/// copies between them, and CPU scalars of no dimension, are allowed.
inline at::Device other_device() {
  return {at::DeviceType::PrivateUse1, 0};
}

/// How often a value was read back to the host (Tensor::item), where a GPU would have to be waited for.
int values_read_back();

}  // namespace lmnet::test
