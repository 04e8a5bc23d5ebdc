#include "tests/data/allocations.h"

#include <cstdlib>
#include <new>

namespace lmnet::test {

std::atomic<size_t> largest_allocation{0};

}  // namespace lmnet::test

// In a file of their own: seen together with their uses, compilers take them for a mismatch. The address sanitizer has
// its own, which must not be mixed with these.
#ifndef __SANITIZE_ADDRESS__
void* operator new(size_t size) {
  using lmnet::test::largest_allocation;
  size_t seen = largest_allocation;
  while (seen < size && !largest_allocation.compare_exchange_weak(seen, size)) {
  }
  if (void* place = std::malloc(size)) return place;
  throw std::bad_alloc();
}

void operator delete(void* place) noexcept {
  std::free(place);
}

void operator delete(void* place, size_t) noexcept {
  std::free(place);
}
#endif
