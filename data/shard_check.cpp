#include "data/shard_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
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

/// What stands last in a gzip file: the size of its last member's text, modulo 2^32. Where the file is cut off, that is
/// any number.
struct GzipEnd {
  fs::path file;
  int64_t size = 0;  // of the file
  double text = 0;

  double ratio() const { return text / static_cast<double>(std::max<int64_t>(1, size)); }
  /// Even if it was only stored. So it is where several members follow one another, too.
  bool too_small() const { return size < 18 || text < 0.9 * static_cast<double>(size - 18) - 64; }
};

GzipEnd end_of_gzip(const fs::path& file, const Ends& ends) {
  GzipEnd end{file, ends.size};
  if (ends.size >= 4) end.text = little_endian(std::string_view(ends.last).substr(ends.last.size() - 4));
  return end;
}

/// How much text the beginning of a gzip file has for each of its bytes.
double ratio_at_start(const fs::path& file) {
  CompressedPiece piece;
  piece.bytes.resize(64 << 10);
  std::ifstream in(file, std::ios::binary);
  in.read(piece.bytes.data(), static_cast<std::streamsize>(piece.bytes.size()));
  piece.bytes.resize(static_cast<size_t>(in.gcount()));
  const auto gzip = make_decompressor(Compression::gzip);
  std::string text(64 << 10, '\0');
  double bytes = 0;
  size_t filled = 0;
  do {
    filled = gzip->run(piece, text);
    bytes += static_cast<double>(filled);
  } while (filled == text.size() || !piece.used_up());
  return bytes / static_cast<double>(std::max<size_t>(1, piece.bytes.size()));
}

/// The ratio that three quarters of the files stay below, where most are much alike; nothing where they are not.
std::optional<double> usual_ratio(const std::vector<GzipEnd>& ends) {
  std::vector<double> ratios;
  for (const GzipEnd& end : ends) ratios.push_back(end.ratio());
  std::ranges::sort(ratios);
  const size_t count = ratios.size();
  if (count < 4) return std::nullopt;
  const double low = ratios[count / 4], high = ratios[count * 3 / 4];
  return low > 0 && high < 1.5 * low ? std::optional(high) : std::nullopt;
}

/// Whether there is far more text than that many bytes have here: by the files beside it and its own beginning. Too
/// little says nothing of large files, which may have several members, or more text than 2^32.
bool too_large(const GzipEnd& end, const std::optional<double>& usual) {
  constexpr double slack = 64 << 10;
  const auto above = [&](double ratio) { return end.text > ratio * static_cast<double>(end.size) + slack; };
  return above(usual ? 1.5 * *usual : 4) && above((usual ? 2 : 4) * ratio_at_start(end.file));
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

/// What is found in a list of shards.
class ShardCheck {
 public:
  explicit ShardCheck(const Format& format) : format_(format) {}

  void look_at(const fs::path& file) {
    collect(file, [&] { look(file, ends_of(file)); });
  }

  /// After all files.
  void look_at_gzip() {
    const std::optional<double> usual = usual_ratio(gzip_);
    for (const GzipEnd& end : gzip_) collect(end.file, [&] { look(end, usual); });
  }

  /// Throws DataError.
  std::vector<std::string> result() const {
    if (faults_.size() == 1) throw DataError(faults_[0]);
    if (!faults_.empty())
      throw DataError(fmt::format("{} (and {} more {} broken)", faults_[0], faults_.size() - 1,
                                  faults_.size() == 2 ? "file is" : "files are"));
    std::vector<std::string> warnings;
    for (const auto& [what, files] : warnings_)
      warnings.push_back(fmt::format("{}: {}{}", files[0].string(), what,
                                     files.size() == 1 ? ""
                                                       : fmt::format(" (and {} more file{} like it)", files.size() - 1,
                                                                     files.size() == 2 ? "" : "s")));
    return warnings;
  }

 private:
  void look(const fs::path& file, const Ends& ends) {
    const Compression compression = compression_of(ends.first);
    const std::string kind = kind_of_name(file);
    if (kind == ".parquet") return check_parquet(ends);
    if (ends.size == 0 && file.extension() != ".gz" && file.extension() != ".zst") return warn(file, "is empty");
    std::optional<GzipEnd> gzip;
    if (compression == Compression::gzip) {
      gzip = end_of_gzip(file, ends);
      if (gzip->too_small()) read_if_small(file, ends.size);
    } else if (compression == Compression::zstd) {
      read_if_small(file, ends.size);
    }
    if (format_.spec().rows == RowLayout::by_name && kind != ".csv" && kind != ".tsv")
      check_json(file, ends, format_.bad_records().has_value());
    else
      ByteReader bytes(file);  // its first piece
    if (gzip) gzip_.push_back(*gzip);
  }

  void look(const GzipEnd& end, const std::optional<double>& usual) {
    if (too_large(end, usual) && !read_if_small(end.file, end.size))
      warn(end.file, "may be cut off: the size at its end does not fit");
  }

  /// Reads all of the file to make sure, but no more than most_to_read of all of them.
  bool read_if_small(const fs::path& file, int64_t size) {
    if (size > may_read_) return false;
    may_read_ -= size;
    for (ByteReader bytes(file); bytes.peek() >= 0;) bytes.take(bytes.rest().size());
    return true;
  }

  template <typename Look>
  void collect(const fs::path& file, Look&& look) {
    try {
      look();
    } catch (const BrokenCompression& broken) {
      faults_.push_back(fmt::format("{}: {}; fetch the file again", file.string(), broken.what()));
    } catch (const BrokenFile& broken) {
      faults_.push_back(fmt::format("{}: {}", file.string(), broken.what()));
    } catch (const DataError& error) {
      faults_.push_back(error.what());
    }
  }

  void warn(const fs::path& file, const std::string& what) { warnings_[what].push_back(file); }

  const Format& format_;
  int64_t may_read_ = most_to_read;
  std::vector<GzipEnd> gzip_;
  std::vector<std::string> faults_;
  std::map<std::string, std::vector<fs::path>> warnings_;
};

}  // namespace

std::vector<std::string> check_shards(const std::vector<fs::path>& files, const Format& format) {
  ShardCheck check(format);
  for (const fs::path& file : files) check.look_at(file);
  check.look_at_gzip();
  return check.result();
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
