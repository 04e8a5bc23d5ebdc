#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace lmnet {

/// Files that are there whole or not at all. Every function throws CheckpointError with the path, the system's reason
/// and, where there is one, the way out.

/// Throws CheckpointError `cannot ACTION PATH: REASON` for an errno value.
[[noreturn]] void throw_file_error(std::string_view action, const std::filesystem::path& path, int error);

/// An open file, closed with its owner.
class FileDescriptor {
 public:
  /// `flags` as for open(2).
  FileDescriptor(std::filesystem::path path, int flags);
  /// Takes over one that is open; `path` is its name in errors.
  struct Open {
    int number;
  };
  FileDescriptor(std::filesystem::path path, Open open) : path_(std::move(path)), descriptor_(open.number) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&&) = delete;

  int number() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const;
  /// Fills `bytes` from `offset` on; a file that ends before is an error. May be called by several threads.
  void read(std::span<std::byte> bytes, uint64_t offset) const;
  void write(std::span<const std::byte> bytes, uint64_t offset);
  /// Returns when the bytes are on the disk.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

/// The name beside `path` under which a file or folder grows: `.NAME.tmp`.
std::filesystem::path temporary_name(const std::filesystem::path& path);
/// The name beside `path` of what is being replaced there: `.NAME.old`.
std::filesystem::path replaced_name(const std::filesystem::path& path);

/// Throws CheckpointError unless the file system of `folder` (or of what will hold it) has room for so many bytes and
/// files more.
void require_space(const std::filesystem::path& folder, uint64_t bytes, uint64_t files);

/// Throws where this process may not write so large a file (`ulimit -f`).
void require_file_size(const std::filesystem::path& folder, uint64_t bytes);

bool path_exists(const std::filesystem::path& path);

/// Makes names created, renamed or removed in `folder` durable.
void sync_folder(const std::filesystem::path& folder);

/// Writes `text` under the temporary name, syncs and renames it.
void write_text(const std::filesystem::path& path, std::string_view text);
std::string read_text(const std::filesystem::path& path);

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes a file or folder with all it holds; nothing happens if it is not there.
void remove_path(const std::filesystem::path& path);

}  // namespace lmnet
