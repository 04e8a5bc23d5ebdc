#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "trainer/checkpoint/file_io.h"

namespace lmnet {

/// Pages of memory and of files.
inline constexpr size_t page_bytes = 4096;

/// Memory that begins at a page, `bytes` of it.
struct FreePages {
  void operator()(std::byte* pages) const;
};
using Pages = std::unique_ptr<std::byte[], FreePages>;
Pages make_pages(size_t bytes);

/// A file whose large parts go to the disk, or come from it, past the page cache where the file system can do that
/// (O_DIRECT): it costs hardly any processor time, and leaves the cache to others. Throws CheckpointError.
class BulkFile {
 public:
  enum class Access { write, read };
  /// To write makes the file, or empties it.
  BulkFile(const std::filesystem::path& path, Access access);

  /// What begins at a page of the file is written fastest, most of all from memory that begins at a page too.
  void write(std::span<const std::byte> bytes, uint64_t offset);
  /// Fills all of it; past the cache only where place, memory and size are whole pages.
  void read(std::span<std::byte> bytes, uint64_t offset);
  void sync() { file_.sync(); }
  uint64_t size() const { return file_.size(); }

 private:
  size_t write_direct(std::span<const std::byte> bytes, uint64_t offset);
  void write_cached(std::span<const std::byte> bytes, uint64_t offset);

  FileDescriptor file_;
  std::optional<FileDescriptor> direct_;
  Pages buffer_;  // for what does not begin at a page in memory
};

}  // namespace lmnet
