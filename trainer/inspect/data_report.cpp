#include "trainer/inspect/data_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "data/errors.h"
#include "data/format_spec.h"
#include "data/record_reader.h"
#include "data/token_shard.h"
#include "trainer/describe.h"

namespace lmnet {
namespace {

constexpr size_t kShown = 600;  // bytes of a sample
constexpr int64_t kMostText = 16 << 20;

/// A run of tokens that are all learnt, or all not: [begin, end).
struct Passage {
  size_t begin, end;
  bool learnt;
};

std::vector<Passage> passages_of(const Document& document) {
  std::vector<Passage> parts;
  for (size_t i = 0; i < document.tokens.size(); ++i) {
    const bool learnt = document.learn[i] != 0;
    if (parts.empty() || parts.back().learnt != learnt) parts.push_back({i, i, learnt});
    parts.back().end = i + 1;
  }
  return parts;
}

std::string decode(const Document& document, const Passage& part, const Tokenizer& tokenizer) {
  return tokenizer.decode_special(std::span(document.tokens).subspan(part.begin, part.end - part.begin));
}

double share(int64_t part, int64_t all) {
  return all > 0 ? 100 * static_cast<double>(part) / static_cast<double>(all) : 0;
}

std::string length_table(const TokenCounts& counts) {
  std::string text = "  tokens a document\n";
  const int64_t most = counts.lengths.empty() ? 1 : *std::ranges::max_element(counts.lengths);
  for (size_t i = 0; i < counts.lengths.size(); ++i) {
    if (counts.lengths[i] == 0) continue;
    const int64_t from = int64_t{1} << i;
    const std::string bar(static_cast<size_t>(1 + 39 * counts.lengths[i] / most), '#');
    text += fmt::format("  {:>9} to {:<9}{:>12}  {:5.1f} %  {}\n", from, 2 * from - 1, counts.lengths[i],
                        share(counts.lengths[i], counts.documents), bar);
  }
  return text;
}

/// Cut at a character's begin.
std::string shortened(std::string text) {
  if (text.size() <= kShown) return text;
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + " …";
}

std::string indented(const std::string& text) {
  std::string result = "    ";
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "    ";
  }
  return result;
}

}  // namespace

std::string marked(const Document& document, const Tokenizer& tokenizer) {
  std::string text;
  for (const Passage& part : passages_of(document)) {
    const std::string piece = decode(document, part, tokenizer);
    text += part.learnt ? piece : "«" + piece + "»";
  }
  return text;
}

std::string DataReport::text(const Tokenizer& of) const {
  std::string text = fmt::format("{} {}{}\n", prepared ? "prepared data" : "data", what,
                                 complete ? "" : " · not prepared to its end: call lmnet prepare again");
  text += fmt::format("  {} of {} · format {} · tokenizer {}\n", counted(files, "file"),
                      short_count(static_cast<double>(bytes), "B"), format, tokenizer);
  text += fmt::format("  {}{} · {} ({}), {:.1f} % of them learnt\n", whole ? "" : "the first ",
                      counted(counts.documents, "document"), short_count(static_cast<double>(counts.tokens), "t"),
                      counted(counts.tokens, "token"), share(counts.learnt, counts.tokens));
  text += length_table(counts);
  if (!samples.empty()) text += "  samples, what is read only between « and »\n";
  for (size_t i = 0; i < samples.size(); ++i)
    text += fmt::format("  {}. {}\n{}\n", i + 1, counted(std::ssize(samples[i].tokens), "token"),
                        indented(shortened(marked(samples[i], of))));
  return text;
}

std::string DataReport::json(const Tokenizer& of) const {
  using Json = nlohmann::ordered_json;
  Json root = {{"kind", prepared ? "prepared data" : "data"},
               {"path", what},
               {"format", format},
               {"tokenizer", tokenizer},
               {"complete", complete},
               {"whole", whole},
               {"files", files},
               {"bytes", bytes},
               {"documents", counts.documents},
               {"tokens", counts.tokens},
               {"learnt", counts.learnt},
               {"lengths", Json::array()},
               {"samples", Json::array()}};
  for (size_t i = 0; i < counts.lengths.size(); ++i)
    if (counts.lengths[i] > 0)
      root["lengths"].push_back(
          {{"from", int64_t{1} << i}, {"to", (int64_t{2} << i) - 1}, {"documents", counts.lengths[i]}});
  for (const Document& sample : samples) {
    Json parts = Json::array();
    for (const Passage& part : passages_of(sample))
      parts.push_back({{"learnt", part.learnt}, {"text", decode(sample, part, of)}});
    root["samples"].push_back({{"tokens", sample.tokens.size()}, {"parts", std::move(parts)}});
  }
  return root.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

DataReport report_prepared(const std::filesystem::path& folder, int64_t samples, bool verify) {
  const TokenIndex index = TokenIndex::read(folder);
  DataReport report;
  report.what = folder.string();
  report.format = index.format;
  report.tokenizer = index.tokenizer;
  report.prepared = true;
  report.complete = index.complete;
  report.counts = index.total();
  report.files = std::ssize(index.shards);
  for (const TokenIndex::Shard& shard : index.shards) {
    report.bytes += shard.bytes;
    const bool wanted = std::ssize(report.samples) < samples;
    if (!wanted && !verify) continue;
    const TokenShardReader reader(folder / shard.file);
    if (reader.shard().fingerprint != index.fingerprint)
      throw DataError(fmt::format("{}: belongs to other data than its index.json", (folder / shard.file).string()));
    if (verify) reader.verify();
    if (wanted && shard.counts.documents > 0)
      reader.read(0, samples - std::ssize(report.samples), kMostText, report.samples);
  }
  return report;
}

DataReport report_raw(const Source& source, const Tokenizer& tokenizer, int64_t samples) {
  DataReport report;
  report.what = source.name.empty() ? source.path.text() : source.name;
  report.format = source.format.spec().name;
  report.tokenizer = tokenizer.name();
  for (const auto& file : expand(source.path)) {
    ++report.files;
    report.bytes += static_cast<int64_t>(std::filesystem::file_size(file));
    if (report.counts.text_bytes >= kMostText) {
      report.whole = false;
      continue;
    }
    read_records(file, source.format, [&](int64_t, Record&& record) {
      if (report.counts.text_bytes >= kMostText) {
        report.whole = false;
        return false;
      }
      Document document = make_document(tokenizer, record);
      report.counts.add(document, static_cast<int64_t>(record.bytes()));
      if (std::ssize(report.samples) < samples) report.samples.push_back(std::move(document));
      return true;
    });
  }
  return report;
}

}  // namespace lmnet
