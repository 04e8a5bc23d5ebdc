#include "trainer/checkpoint/hdf5.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet {
namespace {

/// The innermost cause on this thread's error stack.
std::string innermost_cause() {
  std::string cause;
  const auto take_first = [](unsigned, const H5E_error2_t* entry, void* result) -> herr_t {
    *static_cast<std::string*>(result) = entry->desc ? entry->desc : "";
    return 1;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &cause);
  return cause.empty() ? "HDF5 gives no reason" : cause;
}

}  // namespace

Hdf5Silence::Hdf5Silence() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Silence::~Hdf5Silence() {
  H5Eset_auto2(H5E_DEFAULT, function_, data_);
}

void require_threadsafe_hdf5() {
  hbool_t threadsafe = false;
  if (H5is_library_threadsafe(&threadsafe) < 0 || !threadsafe) {
    throw CheckpointError("the HDF5 library is not thread-safe; build LMNet with one that is (Debian: libhdf5-dev)");
  }
}

void throw_hdf5_error(std::string_view action, const std::filesystem::path& path) {
  const std::string cause = innermost_cause();
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
  Hdf5Properties access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_file_locking(access.get(), false, true);
  H5Pset_alignment(access.get(), large, page);
  return access;
}

}  // namespace lmnet
