#include "data/token_index.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using testing::HasSubstr;

TokenCounts some_counts(int documents) {
  TokenCounts counts;
  for (int i = 1; i <= documents; ++i)
    counts.add({std::vector<int32_t>(static_cast<size_t>(i), 7), std::vector<uint8_t>(static_cast<size_t>(i), i % 2)},
               i);
  return counts;
}

TokenIndex some_index() {
  return {"0123456789abcdef",
          "alpaca",
          true,
          "folder/of tokenizer",
          "fedc",
          1000,
          true,
          {{"a.json", 100}, {"b.json", 0}},
          {{"shard-0.h5", 10, some_counts(5)}, {"shard-1.h5", 20, some_counts(9)}}};
}

TEST(TokenCounts, add_up_documents_by_length) {
  TokenCounts counts = some_counts(5);
  EXPECT_EQ(counts.documents, 5);
  EXPECT_EQ(counts.tokens, 15);
  EXPECT_EQ(counts.learnt, 1 + 3 + 5);
  EXPECT_THAT(counts.lengths, testing::ElementsAre(1, 2, 2));
  counts.add(some_counts(1));
  EXPECT_EQ(counts.documents, 6);
  EXPECT_THAT(counts.lengths, testing::ElementsAre(2, 2, 2));
}

TEST(TokenIndex, is_read_as_it_was_written) {
  const test::TempFolder folder;
  const TokenIndex index = some_index();
  EXPECT_FALSE(TokenIndex::is_in(folder.path("")));
  index.write(folder.path(""));
  EXPECT_TRUE(TokenIndex::is_in(folder.path("")));
  const TokenIndex read = TokenIndex::read(folder.path(""));
  EXPECT_EQ(read.json(), index.json());
  EXPECT_TRUE(read.complete);
  EXPECT_EQ(read.shards[1].counts.tokens, 45);
  EXPECT_EQ(read.total().documents, 14);
}

TEST(TokenIndex, refuses_what_cannot_be) {
  const std::string good = some_index().json();
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return data_error([&] { TokenIndex::parse(text, "x/index.json"); });
  };
  EXPECT_THAT(refusal("LMNet prepared", "Other prepared"), HasSubstr("x/index.json: is not that of prepared data"));
  EXPECT_THAT(refusal("\"version\": 1", "\"version\": 2"), HasSubstr("is of version 2, this program reads 1"));
  EXPECT_THAT(refusal("shard-1.h5", "../shard-1.h5"), HasSubstr("\"../shard-1.h5\" is no file in this folder"));
  EXPECT_THAT(refusal("\"bytes\": 20", "\"bytes\": -20"), HasSubstr("-20 is no count"));
  EXPECT_THAT(refusal("\"bytes\": 20", "\"bytes\": 1e300"), HasSubstr("is no count"));
  EXPECT_THAT(refusal("\"complete\": true,", ""), HasSubstr("is damaged"));
  EXPECT_THAT(refusal("{", ""), HasSubstr("is damaged"));
  std::string text = good;
  text.replace(text.rfind("\"documents\": 9"), 14, "\"documents\": 8");
  EXPECT_THAT(data_error([&] { TokenIndex::parse(text, "x"); }), HasSubstr("contradict"));
}

}  // namespace
}  // namespace lmnet
