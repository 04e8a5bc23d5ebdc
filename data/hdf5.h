#pragma once
#include <hdf5.h>

#include <string>
#include <utility>

namespace lmnet {

/// Owns an HDF5 identifier and closes it with `Close`.
template <herr_t (*Close)(hid_t)>
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(hid_t id) : id_(id) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Hdf5Handle() { close(); }

  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }
  /// False when HDF5 could not close it. The identifier is given up either way.
  bool close() { return !valid() || Close(std::exchange(id_, H5I_INVALID_HID)) >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

using Hdf5File = Hdf5Handle<H5Fclose>;
using Hdf5Dataset = Hdf5Handle<H5Dclose>;
using Hdf5Space = Hdf5Handle<H5Sclose>;
using Hdf5Type = Hdf5Handle<H5Tclose>;
using Hdf5Attribute = Hdf5Handle<H5Aclose>;
using Hdf5Properties = Hdf5Handle<H5Pclose>;

/// Keeps HDF5 from printing its error stack on this thread while it lives.
class Hdf5Silence {
 public:
  Hdf5Silence();
  ~Hdf5Silence();
  Hdf5Silence(const Hdf5Silence&) = delete;
  Hdf5Silence& operator=(const Hdf5Silence&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// Whether the HDF5 library may be called by several threads, which then take turns (Debian's serial flavour may).
bool hdf5_is_threadsafe();

/// The innermost cause on this thread's error stack.
std::string hdf5_cause();

/// Access to files that are never changed in place: closing a file closes all that is open in it, and there are no
/// file locks, which many network file systems do not have.
Hdf5Properties hdf5_file_access();

}  // namespace lmnet
