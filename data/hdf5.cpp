#include "data/hdf5.h"

namespace lmnet {

Hdf5Silence::Hdf5Silence() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Silence::~Hdf5Silence() {
  H5Eset_auto2(H5E_DEFAULT, function_, data_);
}

bool hdf5_is_threadsafe() {
  hbool_t threadsafe = false;
  return H5is_library_threadsafe(&threadsafe) >= 0 && threadsafe;
}

std::string hdf5_cause() {
  std::string cause;
  const auto take_first = [](unsigned, const H5E_error2_t* entry, void* result) -> herr_t {
    *static_cast<std::string*>(result) = entry->desc ? entry->desc : "";
    return 1;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &cause);
  return cause.empty() ? "HDF5 gives no reason" : cause;
}

Hdf5Properties hdf5_file_access() {
  Hdf5Properties access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_file_locking(access.get(), false, true);
  return access;
}

}  // namespace lmnet
