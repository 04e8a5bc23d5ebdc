// Whole tokenizers on real text: each folder under tokenizers/ of the samples.
#include <gmock/gmock.h>
#include <utf8proc.h>

#include <cstdlib>
#include <fstream>

#include "data/utf8.h"
#include "tests/data/tokenizer_support.h"

namespace lmnet {
namespace {

using test::encode;

void expect_vectors(const Tokenizer& tokenizer, const std::filesystem::path& folder) {
  std::ifstream in(folder / "vectors_dev.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto vector = nlohmann::json::parse(line);
    const auto text = vector["text"].get<std::string>();
    const auto ids = encode(tokenizer, text);
    EXPECT_EQ(ids, vector["ids"].get<std::vector<int32_t>>()) << folder << " " << vector["id"];
  }
}

/// The valid parts of a text in normal form C, by utf8proc.
std::string normalized(const std::string& text) {
  std::string result;
  for_each_utf8_run(text, [&](std::string_view run, bool valid) {
    if (!valid) {
      result += run;
      return;
    }
    utf8proc_uint8_t* mapped = nullptr;
    const auto size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(run.data()), static_cast<utf8proc_ssize_t>(run.size()),
                     &mapped, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    ASSERT_GE(size, 0);
    result.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
    std::free(mapped);
  });
  return result;
}

/// 100000 texts, half of them with bytes that are no UTF-8.
void expect_round_trips(const Tokenizer& tokenizer) {
  const std::string composed = tokenizer.decode(encode(tokenizer, "e\xcc\x81"));
  const bool nfc = composed == "\xc3\xa9";
  std::mt19937_64 random(20261121);
  std::vector<int32_t> ids;
  for (int i = 0; i < 100000; ++i) {
    const std::string text = test::random_text(random, 20, i % 2 == 1);
    ids.clear();
    tokenizer.encode(text, ids);
    ASSERT_EQ(tokenizer.decode(ids), nfc ? normalized(text) : text) << i;
  }
}

TEST(TokenizerSamples, give_the_ids_of_their_vectors) {
  const auto folders = test::tokenizer_samples();
  if (folders.empty()) GTEST_SKIP() << "no samples";
  for (const auto& folder : folders) expect_vectors(*make_tokenizer(folder.string()), folder);
}

TEST(TokenizerSamples, give_the_same_ids_from_vocab_and_merges_as_from_tokenizer_json) {
  bool any = false;
  for (const auto& folder : test::tokenizer_samples()) {
    if (!exists(folder / "tokenizer.json") || !exists(folder / "vocab.json")) continue;
    any = true;
    const test::TempFolder copy;
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"})
      if (exists(folder / name)) copy.write(name, test::read_file(folder / name));
    const auto tokenizer = make_tokenizer(copy.path("")), whole = make_tokenizer(folder.string());
    EXPECT_EQ(tokenizer->end_of_text(), whole->end_of_text());
    EXPECT_EQ(tokenizer->vocabulary(), whole->vocabulary());
    expect_vectors(*tokenizer, folder);
  }
  if (!any) GTEST_SKIP() << "no sample with both";
}

TEST(TokenizerSamples, lose_no_byte_of_any_text) {
  for (const auto& folder : test::tokenizer_samples()) {
    SCOPED_TRACE(folder);
    expect_round_trips(*make_tokenizer(folder.string()));
  }
}

TEST(ByteLevelTokenizer, loses_no_byte_of_any_text) {
  expect_round_trips(*test::make_tokenizer(test::small_tokenizer(
      {{"t", "h"}, {"th", "e"}, {"\xe4", "\xb8"}, {"\xff", "\xc3"}, {"<", "|"}, {" ", " "}, {"\n", "\n"}},
      R"((?i:'s|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")));
  expect_round_trips(*make_tokenizer("bytes"));
}

}  // namespace
}  // namespace lmnet
