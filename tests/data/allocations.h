#pragma once
#include <atomic>
#include <cstddef>

namespace lmnet::test {

/// The size of the largest `new` of this program since it was last set to 0.
extern std::atomic<size_t> largest_allocation;

}  // namespace lmnet::test
