#include "data/packer.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using testing::ElementsAre;

class PackerTest : public testing::Test {
 protected:
  /// All rows of `records`, one after the other.
  TokenBatch rows(const std::vector<Record>& records, const RowShape& shape) {
    TokenBatch batch;
    batch.length = shape.length;
    Packer packer(*tokenizer_, shape);
    size_t at = 0;
    const auto next = [&](Document& document) {
      while (at < records.size()) {
        document = make_document(*tokenizer_, records[at++]);
        if (fit(document, shape)) return true;
      }
      return false;
    };
    while (packer.append_row(next, batch)) ++batch.rows;
    return batch;
  }

  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
};

TEST_F(PackerTest, lets_documents_follow_one_another_and_rows_overlap_by_one_token) {
  const auto batch = rows({{"pq", "a"}, {"", "bc"}}, {4, true});
  EXPECT_EQ(batch.rows, 3);
  EXPECT_THAT(batch.tokens, ElementsAre(256, 'p', 'q', 'a', 'a', 256, 'b', 'c', 'c', 256, 257, 257));
  EXPECT_THAT(batch.learn, ElementsAre(0, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0));
}

TEST_F(PackerTest, makes_no_row_of_padding_when_documents_end_with_a_row) {
  EXPECT_EQ(rows({{"", "ab"}}, {4, true}).rows, 1);
  EXPECT_EQ(rows({}, {4, true}).rows, 0);
}

TEST_F(PackerTest, makes_every_token_a_target_exactly_once_and_never_learns_prompts) {
  std::vector<Record> records;
  for (int i = 0; i < 60; ++i) {
    records.push_back(
        {std::string(static_cast<size_t>(i * 5 % 17), 'p'), std::string(static_cast<size_t>(i * 3 % 31), 'a')});
  }
  std::vector<int32_t> tokens;
  std::vector<uint8_t> learn;
  for (const Record& record : records) {
    const Document document = make_document(*tokenizer_, record);
    tokens.insert(tokens.end(), document.tokens.begin(), document.tokens.end());
    learn.insert(learn.end(), document.learn.begin(), document.learn.end());
  }
  for (const int64_t length : {2, 3, 16, 100, 5000}) {
    const auto batch = rows(records, {length, true});
    std::vector<int32_t> targets;
    std::vector<uint8_t> learnt;
    int32_t before = 256;
    for (int64_t i = 0; i < batch.rows * length; ++i) {
      if (i % length == 0) {
        EXPECT_EQ(batch.tokens[i], before);
        EXPECT_EQ(batch.learn[i], 0);
      } else if (batch.tokens[i] != 257) {
        targets.push_back(batch.tokens[i]);
        learnt.push_back(batch.learn[i]);
        before = batch.tokens[i];
      }
      if (batch.tokens[i] == 'p' || batch.tokens[i] == 257) {
        EXPECT_EQ(batch.learn[i], 0);
      }
    }
    EXPECT_EQ(targets, tokens);
    EXPECT_EQ(learnt, learn);
  }
}

TEST_F(PackerTest, tells_where_documents_begin) {
  // Plain texts with the end of text before them, which predicts their first token.
  auto batch = rows({{"", "ab"}, {"", "cdefgh"}}, {8, true, true});
  EXPECT_THAT(batch.tokens,
              ElementsAre(256, 'a', 'b', 256, 'c', 'd', 'e', 'f', 'f', 'g', 'h', 256, 257, 257, 257, 257));
  EXPECT_THAT(batch.learn, ElementsAre(0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0));
  EXPECT_THAT(batch.starts, ElementsAre(1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  // Prompts with their own first token.
  batch = rows({{"p", "a"}, {"q", "b"}}, {8, true, true});
  EXPECT_THAT(batch.tokens, ElementsAre(256, 'p', 'a', 256, 'q', 'b', 256, 257));
  EXPECT_THAT(batch.starts, ElementsAre(0, 1, 0, 0, 1, 0, 0, 0));
  EXPECT_TRUE(rows({{"p", "a"}, {"q", "b"}}, {8, true}).starts.empty());
}

TEST_F(PackerTest, cuts_no_document_with_a_prompt_that_a_row_could_hold) {
  const auto batch = rows({{"pq", "a"}, {"r", "b"}, {"", "xyz"}, {"stuvw", "c"}}, {6, true, true});
  EXPECT_THAT(batch.tokens, ElementsAre(256, 'p', 'q', 'a', 256, 257,  //
                                        256, 'r', 'b', 256, 'x', 'y',  //
                                        'y', 'z', 256, 's', 't', 'u',  // too long for any row
                                        'u', 'v', 'w', 'c', 256, 257));
  EXPECT_THAT(batch.starts, ElementsAre(0, 1, 0, 0, 0, 0,  //
                                        0, 1, 0, 1, 0, 0,  //
                                        0, 0, 0, 1, 0, 0,  //
                                        0, 0, 0, 0, 0, 0));
}

TEST_F(PackerTest, makes_every_learnt_token_a_target_once_where_documents_are_told_apart) {
  std::vector<Record> records;
  int64_t expected = 0;
  for (int i = 0; i < 90; ++i) {
    records.push_back({std::string(static_cast<size_t>(i % 3 == 0 ? 0 : i * 5 % 17), 'p'),
                       std::string(static_cast<size_t>(i * 3 % 31), 'a')});
    expected += std::ssize(records.back().answer) + 1;
  }
  for (const int64_t length : {2, 3, 16, 50}) {
    const auto batch = rows(records, {length, true, true});
    EXPECT_EQ(std::count(batch.learn.begin(), batch.learn.end(), 1), expected);
    EXPECT_EQ(std::ssize(batch.starts), batch.rows * length);
    for (int64_t i = 0; i < batch.rows * length; i += length) EXPECT_EQ(batch.learn[i], 0);
  }
}

TEST_F(PackerTest, gives_each_document_a_row_of_its_own_without_packing) {
  const auto batch = rows({{"p", "a"}, {"pppp", "never reached"}, {"", "abcdef"}, {"", ""}, {"pq", "ab"}}, {4, false});
  EXPECT_EQ(batch.rows, 3);
  EXPECT_THAT(batch.tokens, ElementsAre('p', 'a', 256, 257, 'a', 'b', 'c', 'd', 'p', 'q', 'a', 'b'));
  EXPECT_THAT(batch.learn, ElementsAre(0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1));
}

}  // namespace
}  // namespace lmnet
