#include "data/token_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "data/token_json.h"

namespace lmnet {
namespace {

constexpr const char* kind = "LMNet prepared tokens";
constexpr int version = 1;
constexpr size_t most_shards = 1 << 18;

/// In the folder itself.
std::string plain_name(const nlohmann::json& json) {
  const auto name = json.get<std::string>();
  if (name.empty() || name.front() == '.' || name.find('/') != name.npos)
    throw DataError(fmt::format("\"{}\" is no file in this folder", name));
  return name;
}

}  // namespace

void TokenCounts::add(const Document& document, int64_t bytes) {
  const auto length = static_cast<uint64_t>(document.tokens.size());
  if (length == 0) return;
  const auto place = static_cast<size_t>(std::bit_width(length) - 1);
  if (lengths.size() <= place) lengths.resize(place + 1);
  ++lengths[place];
  ++documents;
  tokens += static_cast<int64_t>(length);
  learnt += std::count(document.learn.begin(), document.learn.end(), 1);
  text_bytes += bytes;
}

void TokenCounts::add(const TokenCounts& others) {
  documents += others.documents;
  tokens += others.tokens;
  learnt += others.learnt;
  text_bytes += others.text_bytes;
  lengths.resize(std::max(lengths.size(), others.lengths.size()));
  for (size_t i = 0; i < others.lengths.size(); ++i) lengths[i] += others.lengths[i];
}

nlohmann::ordered_json to_json(const TokenCounts& counts) {
  return {{"documents", counts.documents},
          {"tokens", counts.tokens},
          {"learnt", counts.learnt},
          {"text_bytes", counts.text_bytes},
          {"lengths", counts.lengths}};
}

TokenCounts parse_counts(const nlohmann::json& json) {
  TokenCounts counts{count_of(json.at("documents")),
                     count_of(json.at("tokens")),
                     count_of(json.at("learnt")),
                     count_of(json.at("text_bytes")),
                     {}};
  if (json.at("lengths").size() > 63) throw DataError("its counts contradict one another");
  int64_t documents = 0;
  for (const auto& length : json.at("lengths")) documents += counts.lengths.emplace_back(count_of(length));
  if (documents != counts.documents || counts.tokens < counts.documents || counts.learnt > counts.tokens)
    throw DataError("its counts contradict one another");
  return counts;
}

int64_t count_of(const nlohmann::json& json) {
  // So that sums over all shards stay within 64 bits.
  constexpr int64_t most = int64_t{1} << 44;
  if (!json.is_number_integer() || json.get<double>() < 0 || json.get<double>() > static_cast<double>(most))
    throw DataError(fmt::format("{} is no count", json.dump().substr(0, 40)));
  return json.get<int64_t>();
}

TokenCounts TokenIndex::total() const {
  TokenCounts sum;
  for (const Shard& shard : shards) sum.add(shard.counts);
  return sum;
}

std::string TokenIndex::json() const {
  nlohmann::ordered_json root = {
      {"kind", kind},
      {"version", version},
      {"complete", complete},
      {"fingerprint", fingerprint},
      {"format", format},
      {"masks", masks},
      {"tokenizer", {{"name", tokenizer}, {"hash", tokenizer_hash}, {"vocabulary", vocabulary}}},
      {"total", to_json(total())},
      {"inputs", nlohmann::json::array()},
      {"shards", nlohmann::json::array()}};
  for (const Input& input : inputs) root["inputs"].push_back({{"name", input.name}, {"bytes", input.bytes}});
  for (const Shard& shard : shards) {
    nlohmann::ordered_json entry = {{"file", shard.file}, {"bytes", shard.bytes}};
    entry.update(to_json(shard.counts));
    root["shards"].push_back(std::move(entry));
  }
  using Json = nlohmann::ordered_json;
  return root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

TokenIndex TokenIndex::parse(const std::string& json, const std::string& where) {
  try {
    const auto root = nlohmann::json::parse(json);
    if (root.value("kind", "") != kind) throw DataError("is not that of prepared data");
    if (root.at("version") != version)
      throw DataError(fmt::format("is of version {}, this program reads {}: prepare the data again",
                                  root.at("version").dump().substr(0, 20), version));
    TokenIndex index;
    index.complete = root.at("complete");
    index.fingerprint = root.at("fingerprint");
    index.format = root.at("format");
    index.masks = root.at("masks");
    const auto& tokenizer = root.at("tokenizer");
    index.tokenizer = tokenizer.at("name");
    index.tokenizer_hash = tokenizer.at("hash");
    index.vocabulary = count_of(tokenizer.at("vocabulary"));
    for (const auto& input : root.at("inputs"))
      index.inputs.push_back({input.at("name").get<std::string>(), count_of(input.at("bytes"))});
    if (root.at("shards").size() > most_shards) throw DataError("names too many shards");
    for (const auto& shard : root.at("shards"))
      index.shards.push_back({plain_name(shard.at("file")), count_of(shard.at("bytes")), parse_counts(shard)});
    return index;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: is damaged: {}", where, error.what()));
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
}

bool TokenIndex::is_in(const std::filesystem::path& folder) {
  std::ifstream in(folder / file_name, std::ios::binary);
  std::string begin(200, '\0');
  in.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return begin.find(kind) != begin.npos;
}

std::filesystem::path TokenIndex::folder_of(const Paths& paths) {
  if (paths.all().size() == 1 && is_in(paths.all().front())) return paths.all().front();
  throw DataError(
      fmt::format("{}: the format prepared takes one folder that lmnet prepare has written; there is no {} "
                  "of prepared data",
                  paths.text(), file_name));
}

TokenIndex TokenIndex::read(const std::filesystem::path& folder) {
  const auto file = folder / file_name;
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw DataError(fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  return parse(text, file.string());
}

void TokenIndex::write(const std::filesystem::path& folder) const {
  const auto temporary = folder / fmt::format(".{}.tmp", file_name);
  errno = 0;
  std::ofstream out(temporary, std::ios::binary);
  out << json();
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary, folder / file_name, error);
  if (!out || error)
    throw DataError(fmt::format("{}: cannot be written: {}", (folder / file_name).string(),
                                error ? error.message() : std::strerror(errno)));
}

}  // namespace lmnet
