#include "data/shard_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "data/blanks.h"
#include "data/byte_reader.h"
#include "data/data_files.h"
#include "data/errors.h"
#include "data/format_spec.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// Compressed bytes that are read to make sure, where the end of a file looks wrong.
constexpr int64_t most_to_read = 64 << 20;

struct Ends {
  int64_t size = 0;
  std::string first, last;  // up to 4 KiB
};

Ends ends_of(const fs::path& file) {
  constexpr int64_t piece = 4096;
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  Ends ends;
  std::error_code error;
  ends.size = static_cast<int64_t>(fs::file_size(file, error));
  if (!in || error)
    throw BrokenFile(fmt::format("cannot be opened: {}", error ? error.message() : std::strerror(errno)));
  const auto read = [&](int64_t at, std::string& into) {
    into.resize(static_cast<size_t>(std::min(piece, ends.size)));
    in.seekg(at);
    if (!in.read(into.data(), static_cast<std::streamsize>(into.size()))) throw BrokenFile("cannot be read");
  };
  read(0, ends.first);
  read(std::max<int64_t>(0, ends.size - piece), ends.last);
  return ends;
}

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

/// Whether the size of the text, which stands last in gzip, is one that so many bytes may have come from. Several
/// members give a size of the last one only, and look wrong too.
bool looks_cut_off(const Ends& gzip) {
  constexpr double most = 1032, least = 0.9;  // of deflate; stored bytes have 5 more a block
  constexpr int64_t sizes_wrap = int64_t{3} << 30;
  if (gzip.size < 18) return true;
  const double text = little_endian(std::string_view(gzip.last).substr(gzip.last.size() - 4));
  const auto bytes = static_cast<double>(gzip.size - 18);
  return gzip.size < sizes_wrap && (text < least * bytes - 64 || text > most * bytes + 1024);
}

void read_whole(const fs::path& file) {
  for (ByteReader bytes(file); bytes.peek() >= 0;) bytes.take(bytes.rest().size());
}

void check_parquet(const Ends& ends) {
  constexpr std::string_view magic = "PAR1";
  if (!ends.first.starts_with(magic)) throw BrokenFile("does not start like Parquet");
  if (ends.size < 12 || !ends.last.ends_with(magic))
    throw BrokenFile("the Parquet file is cut off: its footer is missing");
  const uint32_t footer = little_endian(std::string_view(ends.last).substr(ends.last.size() - 8));
  if (footer > ends.size - 12) throw BrokenFile("the footer of the Parquet file is damaged");
}

void check_json(const fs::path& file, const Ends& ends, bool may_skip) {
  ByteReader bytes(file);
  std::string_view rest = bytes.rest();
  const size_t first = std::min(rest.find_first_not_of(blanks), rest.size());
  rest.remove_prefix(first);
  if (rest.starts_with("version https://git-lfs"))
    throw BrokenFile("is a pointer of Git LFS, not the data: fetch that with git lfs pull");
  if (rest.empty() || may_skip) return;
  if (rest.front() != '{' && rest.front() != '[')
    throw BrokenFile(
        fmt::format("is not JSON: it begins with \"{}\"", rest.substr(0, rest.find_first_of("\r\n")).substr(0, 40)));
  const size_t last = ends.last.find_last_not_of(blanks);
  const bool plain = compression_of(ends.first) == Compression::none;
  if (plain && last != ends.last.npos && ends.last[last] != (rest.front() == '[' ? ']' : '}'))
    throw BrokenFile("is cut off inside its last record");
}

/// Looks at one file; what it reads to make sure is taken from `may_read`.
std::string check_shard(const fs::path& file, const Format& format, int64_t& may_read) {
  const Ends ends = ends_of(file);
  const Compression compression = compression_of(ends.first);
  const std::string kind = kind_of_name(file);
  if (kind == ".parquet") return check_parquet(ends), "";
  if (ends.size == 0 && file.extension() != ".gz" && file.extension() != ".zst") return "is empty";
  if (compression == Compression::gzip && looks_cut_off(ends)) {
    if (ends.size > may_read) return "may be cut off: the size at its end does not fit";
    may_read -= ends.size;
    read_whole(file);
  } else if (compression == Compression::zstd && ends.size <= may_read) {
    may_read -= ends.size;
    read_whole(file);
  }
  if (format.spec().rows == RowLayout::by_name && kind != ".csv" && kind != ".tsv")
    check_json(file, ends, format.bad_records().has_value());
  else
    ByteReader bytes(file);  // its first piece
  return "";
}

}  // namespace

std::vector<std::string> check_shards(const std::vector<fs::path>& files, const Format& format) {
  std::vector<std::string> faults, warnings;
  int64_t may_read = most_to_read;
  for (const fs::path& file : files) {
    try {
      const std::string warning = check_shard(file, format, may_read);
      if (!warning.empty()) warnings.push_back(fmt::format("{}: {}", file.string(), warning));
    } catch (const BrokenCompression& broken) {
      faults.push_back(fmt::format("{}: {}; fetch the file again", file.string(), broken.what()));
    } catch (const BrokenFile& broken) {
      faults.push_back(fmt::format("{}: {}", file.string(), broken.what()));
    } catch (const DataError& error) {
      faults.push_back(error.what());
    }
  }
  if (faults.size() == 1) throw DataError(faults[0]);
  if (!faults.empty()) throw DataError(fmt::format("{} (and {} more files are broken)", faults[0], faults.size() - 1));
  return warnings;
}

std::vector<fs::path> files_in_both(const std::vector<fs::path>& files, const std::vector<fs::path>& others) {
  std::set<fs::path> known;
  for (const fs::path& file : files) known.insert(fs::weakly_canonical(file));
  std::vector<fs::path> both;
  for (const fs::path& file : others)
    if (known.contains(fs::weakly_canonical(file))) both.push_back(file);
  return both;
}

}  // namespace lmnet
