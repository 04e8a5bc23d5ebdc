#include "trainer/inspect/data.h"

#include <fmt/format.h>

#include "data/errors.h"
#include "data/token_index.h"
#include "model/graph/errors.h"
#include "trainer/inspect/data_report.h"

namespace lmnet {
namespace {

constexpr int64_t kSamples = 3;

/// The tokenizer that made the data.
std::unique_ptr<Tokenizer> tokenizer_of(const std::string& folder, const TokenIndex& index, const std::string& given) {
  std::unique_ptr<Tokenizer> tokenizer;
  try {
    tokenizer = make_tokenizer(given.empty() ? index.tokenizer : given);
  } catch (const std::exception& error) {
    throw ConfigError(
        fmt::format("{}: its tokenizer is not found ({}); name it with --tokenizer", folder, error.what()));
  }
  if (tokenizer->hash() != index.tokenizer_hash)
    throw DataError(fmt::format("{}: was prepared with another tokenizer, {}, than {}", folder, index.tokenizer,
                                tokenizer->name()));
  return tokenizer;
}

std::string told(const DataReport& report, const Tokenizer& tokenizer, bool json) {
  return json ? report.json(tokenizer) : report.text(tokenizer);
}

}  // namespace

bool is_data(const std::string& what, const DataWords& words) {
  return TokenIndex::is_in(what) || !words.format.empty() || !words.registry.empty();
}

std::string inspect_data(const std::string& what, const DataWords& words, const InspectOptions& options) {
  if (TokenIndex::is_in(what)) {
    const auto tokenizer = tokenizer_of(what, TokenIndex::read(what), words.tokenizer);
    return told(report_prepared(what, kSamples, options.verify), *tokenizer, options.json);
  }
  const Source source = source_of(what, words);
  if (words.tokenizer.empty()) throw ConfigError("raw data needs --tokenizer: a folder, a tokenizer.json, or bytes");
  const auto tokenizer = make_tokenizer(words.tokenizer);
  return told(report_raw(source, *tokenizer, kSamples), *tokenizer, options.json);
}

}  // namespace lmnet
