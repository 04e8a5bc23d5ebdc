#include "data/token_shard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "data/token_json.h"

namespace lmnet {
namespace {

constexpr hsize_t chunk = 16 << 10;         // elements; a multiple of 8
constexpr size_t pending_tokens = 1 << 20;  // are written at once
constexpr const char* attribute = "shard";
constexpr size_t longest_attribute = 60'000;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw DataError(fmt::format("{}: {}", path.string(), what));
}

[[noreturn]] void fail_hdf5(const std::filesystem::path& path, const char* action) {
  fail(path, fmt::format("cannot be {}: {}", action, hdf5_cause()));
}

void require_threads() {
  if (!hdf5_is_threadsafe())
    throw DataError("the HDF5 library is not thread-safe; build LMNet with one that is (Debian: libhdf5-dev)");
}

Hdf5Dataset make_dataset(const Hdf5File& file, const char* name, hid_t type, hsize_t chunk_size) {
  const hsize_t none = 0, unlimited = H5S_UNLIMITED;
  const Hdf5Space space(H5Screate_simple(1, &none, &unlimited));
  const Hdf5Properties properties(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_chunk(properties.get(), 1, &chunk_size);
  H5Pset_fletcher32(properties.get());
  H5Pset_obj_track_times(properties.get(), false);  // the same data is the same file
  return Hdf5Dataset(H5Dcreate2(file.get(), name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT));
}

int64_t extent(const Hdf5Dataset& dataset) {
  const Hdf5Space space(H5Dget_space(dataset.get()));
  hsize_t size = 0;
  if (H5Sget_simple_extent_ndims(space.get()) != 1 || H5Sget_simple_extent_dims(space.get(), &size, nullptr) < 0)
    return -1;
  return static_cast<int64_t>(size);
}

/// Transfers elements [begin, begin + count) of a dataset.
template <class Transfer>
bool transfer(const Hdf5Dataset& dataset, int64_t begin, int64_t count, const Transfer& run) {
  const auto start = static_cast<hsize_t>(begin), size = static_cast<hsize_t>(count);
  const Hdf5Space there(H5Dget_space(dataset.get())), here(H5Screate_simple(1, &size, nullptr));
  return H5Sselect_hyperslab(there.get(), H5S_SELECT_SET, &start, nullptr, &size, nullptr) >= 0 &&
         run(here.get(), there.get()) >= 0;
}

template <class T>
bool append(const Hdf5Dataset& dataset, hid_t type, const std::vector<T>& values) {
  if (values.empty()) return true;
  const int64_t before = extent(dataset);
  const auto after = static_cast<hsize_t>(before) + values.size();
  return before >= 0 && H5Dset_extent(dataset.get(), &after) >= 0 &&
         transfer(dataset, before, std::ssize(values), [&](hid_t here, hid_t there) {
           return H5Dwrite(dataset.get(), type, here, there, H5P_DEFAULT, values.data());
         });
}

template <class T>
bool read(const Hdf5Dataset& dataset, hid_t type, int64_t begin, std::vector<T>& values) {
  if (values.empty()) return true;
  return transfer(dataset, begin, std::ssize(values), [&](hid_t here, hid_t there) {
    return H5Dread(dataset.get(), type, here, there, H5P_DEFAULT, values.data());
  });
}

std::string read_attribute(const Hdf5File& file) {
  const Hdf5Attribute stored(H5Aopen(file.get(), attribute, H5P_DEFAULT));
  if (!stored.valid()) return "";
  const Hdf5Type type(H5Aget_type(stored.get()));
  const size_t size = H5Tget_size(type.get());
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0 || size > longest_attribute)
    return "";
  const Hdf5Space space(H5Aget_space(stored.get()));
  if (H5Sget_simple_extent_npoints(space.get()) != 1) return "";
  std::string text(size, '\0');
  if (H5Aread(stored.get(), type.get(), text.data()) < 0) return "";
  text.resize(std::strlen(text.c_str()));
  return text;
}

bool write_attribute(const Hdf5File& file, const std::string& text) {
  const Hdf5Type type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), text.size() + 1);
  const Hdf5Space space(H5Screate(H5S_SCALAR));
  const Hdf5Attribute made(H5Acreate2(file.get(), attribute, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT));
  return text.size() < longest_attribute && made.valid() && H5Awrite(made.get(), type.get(), text.c_str()) >= 0;
}

void sync(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = descriptor >= 0 && fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (!done) fail(path, fmt::format("cannot be written: {}", std::strerror(error)));
}

}  // namespace

std::string TokenShard::json() const {
  nlohmann::ordered_json root = {{"version", 1},
                                 {"fingerprint", fingerprint},
                                 {"input", input},
                                 {"number", number},
                                 {"last", last},
                                 {"end", {end.record, end.line, end.offset}},
                                 {"vocabulary", vocabulary}};
  root.update(to_json(counts));
  return root.dump();
}

TokenShard TokenShard::parse(const std::string& json) {
  try {
    const auto root = nlohmann::json::parse(json);
    if (root.at("version") != 1) throw DataError("is of another version: prepare the data again");
    const auto& end = root.at("end");
    return {root.at("fingerprint"),
            count_of(root.at("input")),
            count_of(root.at("number")),
            root.at("last"),
            {count_of(end.at(0)), count_of(end.at(1)), count_of(end.at(2))},
            count_of(root.at("vocabulary")),
            parse_counts(root)};
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("what it tells of itself is damaged: {}", error.what()));
  }
}

TokenShardWriter::TokenShardWriter(std::filesystem::path path, int64_t vocabulary)
    : path_(std::move(path)), vocabulary_(vocabulary) {
  require_threads();
  const Hdf5Silence silence;
  temporary_ = path_.parent_path() / fmt::format(".{}.tmp", path_.filename().string());
  const Hdf5Properties access = hdf5_file_access();
  file_ = Hdf5File(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()));
  if (!file_.valid()) fail_hdf5(temporary_, "created");
  tokens_ = make_dataset(file_, "tokens", vocabulary <= 1 << 16 ? H5T_STD_U16LE : H5T_STD_U32LE, chunk);
  learn_ = make_dataset(file_, "learn", H5T_STD_U8LE, chunk / 8);
  ends_ = make_dataset(file_, "ends", H5T_STD_U64LE, chunk / 8);
  skipped_ = make_dataset(file_, "skipped", H5T_STD_U8LE, chunk / 8);
  if (!tokens_.valid() || !learn_.valid() || !ends_.valid() || !skipped_.valid()) fail_hdf5(temporary_, "written");
}

void TokenShardWriter::append(const Document& document, int64_t text_bytes) {
  counts_.add(document, text_bytes);
  pending_tokens_.insert(pending_tokens_.end(), document.tokens.begin(), document.tokens.end());
  pending_learn_.insert(pending_learn_.end(), document.learn.begin(), document.learn.end());
  pending_ends_.push_back(static_cast<uint64_t>(counts_.tokens));
  if (pending_tokens_.size() >= pending_tokens) flush(false);
}

void TokenShardWriter::skip(const SkippedRecord& record) {
  // Its file is the shard's input, wherever that lies.
  const std::string text = json_line({{}, record.record, record.line, record.reason});
  pending_skipped_.insert(pending_skipped_.end(), text.begin(), text.end());
}

/// The mask is written in whole bytes: up to 7 of its bits stay for the next time, unless it is the last.
void TokenShardWriter::flush(bool last) {
  const Hdf5Silence silence;
  const size_t count = pending_learn_.size(), kept = last ? 0 : count % 8;
  std::vector<uint8_t> bits((count - kept + 7) / 8);
  for (size_t i = 0; i < count - kept; ++i) bits[i / 8] |= static_cast<uint8_t>(pending_learn_[i] << i % 8);
  if (!lmnet::append(tokens_, H5T_NATIVE_UINT32, pending_tokens_) || !lmnet::append(learn_, H5T_NATIVE_UINT8, bits) ||
      !lmnet::append(ends_, H5T_NATIVE_UINT64, pending_ends_) ||
      !lmnet::append(skipped_, H5T_NATIVE_CHAR, pending_skipped_))
    fail_hdf5(temporary_, "written");
  pending_skipped_.clear();
  pending_tokens_.clear();
  pending_ends_.clear();
  pending_learn_.erase(pending_learn_.begin(), pending_learn_.end() - static_cast<std::ptrdiff_t>(kept));
}

void TokenShardWriter::finish(TokenShard shard) {
  flush(true);
  shard.vocabulary = vocabulary_;
  shard.counts = counts_;
  {
    const Hdf5Silence silence;
    if (!write_attribute(file_, shard.json())) fail_hdf5(temporary_, "written");
    bool closed = true;
    for (Hdf5Dataset* dataset : {&tokens_, &learn_, &ends_, &skipped_}) closed &= dataset->close();
    if (!file_.close() || !closed) fail_hdf5(temporary_, "written");
  }
  sync(temporary_);
  std::error_code error;
  std::filesystem::rename(temporary_, path_, error);
  if (error) fail(path_, fmt::format("cannot be written: {}", error.message()));
}

TokenShardReader::TokenShardReader(std::filesystem::path path) : path_(std::move(path)) {
  require_threads();
  const Hdf5Silence silence;
  const Hdf5Properties access = hdf5_file_access();
  file_ = Hdf5File(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access.get()));
  if (!file_.valid()) fail_hdf5(path_, "opened");
  const std::string text = read_attribute(file_);
  if (text.empty()) fail(path_, "is no shard of prepared data");
  try {
    shard_ = TokenShard::parse(text);
  } catch (const DataError& error) {
    fail(path_, error.what());
  }
  tokens_ = Hdf5Dataset(H5Dopen2(file_.get(), "tokens", H5P_DEFAULT));
  learn_ = Hdf5Dataset(H5Dopen2(file_.get(), "learn", H5P_DEFAULT));
  ends_ = Hdf5Dataset(H5Dopen2(file_.get(), "ends", H5P_DEFAULT));
  skipped_ = Hdf5Dataset(H5Dopen2(file_.get(), "skipped", H5P_DEFAULT));
  const TokenCounts& counts = shard_.counts;
  if (!tokens_.valid() || !learn_.valid() || !ends_.valid() || !skipped_.valid() || extent(tokens_) != counts.tokens ||
      extent(learn_) != (counts.tokens + 7) / 8 || extent(ends_) != counts.documents)
    fail(path_, "is damaged: it does not hold what it says; prepare the data again");
}

void TokenShardReader::read(int64_t first, int64_t count, int64_t most_tokens, std::vector<Document>& documents) const {
  const Hdf5Silence silence;
  if (first < 0 || count < 1 || first >= shard_.counts.documents) fail(path_, fmt::format("has no document {}", first));
  const int64_t before = first > 0 ? 1 : 0;
  std::vector<uint64_t> ends(static_cast<size_t>(std::min(count, shard_.counts.documents - first) + before));
  if (!lmnet::read(ends_, H5T_NATIVE_UINT64, first - before, ends)) fail_hdf5(path_, "read");
  if (before == 0) ends.insert(ends.begin(), 0);
  const auto all = static_cast<uint64_t>(shard_.counts.tokens);
  for (size_t i = 1; i < ends.size(); ++i)
    if (ends[i] <= ends[i - 1] || ends[i] > all) fail(path_, "is damaged: documents end before they begin");
  const auto most = ends.front() + static_cast<uint64_t>(std::max<int64_t>(1, most_tokens));
  while (ends.size() > 2 && ends.back() > most) ends.pop_back();

  const auto begin = static_cast<int64_t>(ends.front()), end = static_cast<int64_t>(ends.back());
  std::vector<int32_t> tokens(static_cast<size_t>(end - begin));
  std::vector<uint8_t> bits(static_cast<size_t>((end + 7) / 8 - begin / 8));
  if (!lmnet::read(tokens_, H5T_NATIVE_INT32, begin, tokens) || !lmnet::read(learn_, H5T_NATIVE_UINT8, begin / 8, bits))
    fail_hdf5(path_, "read");
  for (const int32_t token : tokens)
    if (token < 0 || token >= shard_.vocabulary) fail(path_, fmt::format("is damaged: {} is no token", token));
  for (size_t i = 1; i < ends.size(); ++i) {
    Document& document = documents.emplace_back();
    const auto from = static_cast<int64_t>(ends[i - 1]), to = static_cast<int64_t>(ends[i]);
    document.tokens.assign(tokens.begin() + (from - begin), tokens.begin() + (to - begin));
    document.learn.resize(static_cast<size_t>(to - from));
    for (int64_t t = from; t < to; ++t) document.learn[t - from] = bits[t / 8 - begin / 8] >> (t % 8) & 1;
  }
}

std::vector<SkippedRecord> TokenShardReader::skipped() const {
  constexpr int64_t most = 64 << 20;
  const Hdf5Silence silence;
  const int64_t size = extent(skipped_);
  if (size < 0 || size > most) fail(path_, "is damaged: it does not hold what it says; prepare the data again");
  std::vector<char> text(static_cast<size_t>(size));
  if (!lmnet::read(skipped_, H5T_NATIVE_CHAR, 0, text)) fail_hdf5(path_, "read");
  std::vector<SkippedRecord> records;
  for (auto begin = text.begin(); begin != text.end();) {
    const auto end = std::find(begin, text.end(), '\n');
    auto record = parse_skipped({begin, end});
    if (!record) fail(path_, "is damaged: its list of bad records cannot be read");
    records.push_back(std::move(*record));
    begin = end == text.end() ? end : end + 1;
  }
  return records;
}

void TokenShardReader::verify() const {
  constexpr int64_t at_once = 1 << 20;
  TokenCounts counts;
  for (int64_t first = 0; first < shard_.counts.documents;) {
    std::vector<Document> documents;
    read(first, 4096, at_once, documents);
    for (const Document& document : documents) counts.add(document, 0);
    first += std::ssize(documents);
  }
  skipped();
  if (counts.tokens != shard_.counts.tokens || counts.learnt != shard_.counts.learnt ||
      counts.lengths != shard_.counts.lengths)
    fail(path_, "is damaged: it does not hold what it says; prepare the data again");
}

}  // namespace lmnet
