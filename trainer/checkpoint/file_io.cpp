#include "trainer/checkpoint/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "trainer/checkpoint/errors.h"

namespace lmnet {
namespace fs = std::filesystem;
namespace {

std::string_view way_out(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "; free some space or set run.dir to another disk";
    case EROFS:
      return "; set run.dir to a folder that can be written";
    case EACCES:
    case EPERM:
      return "; give this user access to it or set run.dir to another folder";
    default:
      return "";
  }
}

}  // namespace

void throw_file_error(std::string_view action, const fs::path& path, int error) {
  throw CheckpointError(
      fmt::format("cannot {} {}: {}{}", action, path.string(), std::generic_category().message(error), way_out(error)));
}

FileDescriptor::FileDescriptor(fs::path path, int flags)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), flags | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) {
    throw_file_error(flags & (O_WRONLY | O_RDWR) ? "write" : "open", path_, errno);
  }
}

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

uint64_t FileDescriptor::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    throw_file_error("read", path_, errno);
  }
  return static_cast<uint64_t>(status.st_size);
}

void FileDescriptor::read(std::span<std::byte> bytes, uint64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno != EINTR) {
      throw_file_error("read", path_, errno);
    }
    if (count == 0) {
      throw CheckpointError(fmt::format("{}: {} bytes missing", path_.string(), bytes.size()));
    }
    if (count > 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
  }
}

void FileDescriptor::write(std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno != EINTR) {
      throw_file_error("write", path_, errno);
    }
    if (count > 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
      offset += static_cast<uint64_t>(count);
    }
  }
}

void FileDescriptor::sync() {
  if (::fsync(descriptor_) != 0) {
    throw_file_error("write", path_, errno);
  }
}

fs::path temporary_name(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}.tmp", path.filename().string());
}

fs::path replaced_name(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}.old", path.filename().string());
}

void require_space(const fs::path& folder, uint64_t bytes, uint64_t files) {
  struct statvfs status {};
  fs::path place = fs::absolute(folder);
  while (::statvfs(place.c_str(), &status) != 0) {
    if (errno != ENOENT || !place.has_relative_path()) throw_file_error("write", folder, errno);
    place = place.parent_path();
  }
  const uint64_t room = uint64_t{status.f_bavail} * status.f_frsize;
  const auto gib = [](uint64_t count) { return static_cast<double>(count) / (uint64_t{1} << 30); };
  if (bytes > room) {
    throw CheckpointError(fmt::format("cannot write {}: it takes {:.3f} GiB, but {:.3f} GiB are free there{}",
                                      folder.string(), gib(bytes), gib(room), way_out(ENOSPC)));
  }
  // A file system that counts no files says 0 of all.
  if (status.f_files != 0 && files > status.f_favail) {
    throw CheckpointError(fmt::format("cannot write {}: it is {} files, but there is room for {} files more there{}",
                                      folder.string(), files, status.f_favail, way_out(ENOSPC)));
  }
}

void require_file_size(const fs::path& folder, uint64_t bytes) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur) throw_file_error("write", folder, EFBIG);
}

bool path_exists(const fs::path& path) {
  std::error_code error;
  const auto type = fs::status(path, error).type();
  if (type == fs::file_type::none || type == fs::file_type::unknown) {
    throw_file_error("read", path, error.value());
  }
  return type != fs::file_type::not_found;
}

void sync_folder(const fs::path& folder) {
  FileDescriptor(folder, O_RDONLY | O_DIRECTORY).sync();
}

void write_text(const fs::path& path, std::string_view text) {
  const auto temporary = temporary_name(path);
  FileDescriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  file.write(std::as_bytes(std::span(text)), 0);
  file.sync();
  rename_path(temporary, path);
}

std::string read_text(const fs::path& path) {
  const FileDescriptor file(path, O_RDONLY);
  std::string text(file.size(), '\0');
  file.read(std::as_writable_bytes(std::span(text)), 0);
  return text;
}

void rename_path(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    throw_file_error("write", to, error.value());
  }
}

void remove_path(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) {
    throw_file_error("remove", path, error.value());
  }
}

}  // namespace lmnet
