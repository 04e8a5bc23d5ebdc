#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/file_scan.h"
#include "data/tokenizer.h"

namespace lmnet {

/// What a stream takes of one file: all its records, or every stride-th from `first` on; of a shard of prepared data
/// `count` documents from `first` on.
struct Unit {
  std::filesystem::path file;
  int64_t first = 0, stride = 1;
  std::shared_ptr<FileScan> scan = {};  // shared with the other streams of this rank; none where stride is 1
  int64_t count = 0;
  std::shared_ptr<const std::string> prepared = {};  // the fingerprint of prepared data
  int64_t bytes = -1;                                // of the file on the disk, at the start; -1: nobody watches it
};

/// The files of a source as they are dealt to the streams, known without reading more than 16 MiB.
struct Shards {
  std::vector<std::filesystem::path> files;
  std::vector<int64_t> bytes;    // of each file, as it lies on the disk
  std::vector<int64_t> records;  // of each file, if the source is small: it was read once, so that what is broken shows
  bool whole = false;            // each file goes to one stream; otherwise each record does
  std::shared_ptr<const std::string> prepared = {};  // the fingerprint of prepared data, which is
  int64_t run = 1;                                   // dealt in runs of so many documents
};

/// Files go out whole where there are as many as streams and more than a few. Throws DataError.
Shards find_shards(std::vector<std::filesystem::path> files, Format format, int64_t streams);

/// The shards of a folder of prepared data. Documents go out in runs of 2^n, n as large as leaves at least about eight
/// for each stream. Throws DataError, also where another tokenizer made it.
Shards find_prepared_shards(const std::filesystem::path& folder, const Tokenizer& tokenizer, int64_t streams);

/// Some neighbouring ones of the S streams.
struct StreamRange {
  int64_t begin = 0, end = 0, of = 1;
};

/// The units of each stream in the range. Dealing begins at stream `dealt` modulo S, so that small sources that are
/// dealt one after the other reach different streams; `dealt` grows by the files or records, where those are known.
/// `key` orders whole files.
std::vector<std::vector<Unit>> deal(const Shards& shards, Format format, StreamRange streams, uint64_t key,
                                    int64_t& dealt);

}  // namespace lmnet
