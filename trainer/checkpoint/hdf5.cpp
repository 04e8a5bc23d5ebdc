#include "trainer/checkpoint/hdf5.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {

void require_threadsafe_hdf5() {
  if (!hdf5_is_threadsafe()) {
    throw CheckpointError("the HDF5 library is not thread-safe; build LMNet with one that is (Debian: libhdf5-dev)");
  }
}

void throw_hdf5_error(std::string_view action, const std::filesystem::path& path) {
  const std::string cause = hdf5_cause();
  int error = 0;
  // HDF5 passes failures of the system on as text: `file write failed: time = …, errno = 28, error message = …`.
  constexpr std::string_view key = "errno = ";
  if (const auto at = cause.find(key); at != std::string::npos) {
    std::from_chars(cause.data() + at + key.size(), cause.data() + cause.size(), error);
  }
  if (error > 0) {
    throw_file_error(action, path, error);
  }
  throw CheckpointError(fmt::format("cannot {} {}: {}", action, path.string(), cause));
}

Hdf5Properties checkpoint_file_access() {
  constexpr hsize_t large = 1 << 20, page = 4096;
  Hdf5Properties access = hdf5_file_access();
  H5Pset_alignment(access.get(), large, page);
  return access;
}

}  // namespace lmnet
