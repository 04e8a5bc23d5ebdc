#include "trainer/checkpoint/bulk_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

namespace lmnet {
namespace {

/// Below it the cache is faster.
constexpr size_t large_bytes = size_t{1} << 20;
/// What one call moves, and the buffer holds.
constexpr size_t chunk_bytes = size_t{8} << 20;

bool begins_page(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % page_bytes == 0;
}

/// The file once more, past the cache; nothing where that cannot be.
std::optional<FileDescriptor> open_direct(const std::filesystem::path& path, int flags) {
  const int number = ::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC);
  if (number < 0) return std::nullopt;
  return FileDescriptor(path, FileDescriptor::Open{number});
}

/// Whether the file system does not take this past the cache after all.
bool cannot_be_direct(int error) {
  return error == EINVAL || error == EOPNOTSUPP;
}

}  // namespace

void FreePages::operator()(std::byte* pages) const {
  std::free(pages);
}

Pages make_pages(size_t bytes) {
  const size_t whole = (bytes + page_bytes - 1) / page_bytes * page_bytes;
  auto* pages = static_cast<std::byte*>(std::aligned_alloc(page_bytes, std::max(whole, page_bytes)));
  if (pages == nullptr) throw std::bad_alloc();
  return Pages(pages);
}

BulkFile::BulkFile(const std::filesystem::path& path, Access access)
    : file_(path, access == Access::write ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY),
      direct_(open_direct(path, access == Access::write ? O_WRONLY : O_RDONLY)) {}

void BulkFile::write(std::span<const std::byte> bytes, uint64_t offset) {
  if (bytes.size() >= large_bytes && offset % page_bytes == 0) {
    const size_t written = write_direct(bytes, offset);
    bytes = bytes.subspan(written);
    offset += written;
  }
  write_cached(bytes, offset);
}

/// As much as goes past the cache: whole pages, or nothing.
size_t BulkFile::write_direct(std::span<const std::byte> bytes, uint64_t offset) {
  if (!direct_) return 0;
  // The disk's room is taken before the bytes come, so that they do not make the file grow write by write.
  if (::fallocate(direct_->number(), 0, static_cast<off_t>(offset), static_cast<off_t>(bytes.size())) != 0 &&
      errno != EOPNOTSUPP) {
    throw_file_error("write", file_.path(), errno);
  }
  const bool in_place = begins_page(bytes.data());
  if (!in_place && !buffer_) buffer_ = make_pages(chunk_bytes);
  const size_t whole = bytes.size() / page_bytes * page_bytes;
  size_t written = 0;
  while (written < whole) {
    const auto chunk = bytes.subspan(written, std::min(whole - written, chunk_bytes));
    if (!in_place) std::memcpy(buffer_.get(), chunk.data(), chunk.size());
    const void* source = in_place ? chunk.data() : buffer_.get();
    const ssize_t count = ::pwrite(direct_->number(), source, chunk.size(), static_cast<off_t>(offset + written));
    if (count >= 0 && count % static_cast<ssize_t>(page_bytes) == 0) {
      written += static_cast<size_t>(count);
    } else if (count >= 0 || cannot_be_direct(errno)) {
      direct_.reset();
      return written;
    } else if (errno != EINTR) {
      throw_file_error("write", file_.path(), errno);
    }
  }
  return written;
}

void BulkFile::write_cached(std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const auto chunk = bytes.first(std::min(bytes.size(), chunk_bytes));
    file_.write(chunk, offset);
    // The disk begins at once, not when the cache is full. It may be unable to, which sync() tells.
    if (chunk.size() >= large_bytes)
      ::sync_file_range(file_.number(), static_cast<off_t>(offset), static_cast<off_t>(chunk.size()),
                        SYNC_FILE_RANGE_WRITE);
    bytes = bytes.subspan(chunk.size());
    offset += chunk.size();
  }
}

void BulkFile::read(std::span<std::byte> bytes, uint64_t offset) {
  const bool whole_pages = offset % page_bytes == 0 && bytes.size() % page_bytes == 0 && begins_page(bytes.data());
  while (direct_ && whole_pages && !bytes.empty()) {
    const ssize_t count = ::pread(direct_->number(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count <= 0 || count % static_cast<ssize_t>(page_bytes) != 0) break;  // the other way tells what it is
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  file_.read(bytes, offset);
}

}  // namespace lmnet
