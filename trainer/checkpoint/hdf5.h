#pragma once
#include <filesystem>
#include <string_view>

#include "data/hdf5.h"

namespace lmnet {

/// Throws CheckpointError unless the HDF5 library may be called by several threads.
void require_threadsafe_hdf5();

/// Throws CheckpointError `cannot ACTION PATH: REASON` with the cause that HDF5's error stack of this thread names.
[[noreturn]] void throw_hdf5_error(std::string_view action, const std::filesystem::path& path);

/// Access as checkpoints use it: hdf5_file_access(), and large datasets start on a page.
Hdf5Properties checkpoint_file_access();

}  // namespace lmnet
