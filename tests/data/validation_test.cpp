#include <gmock/gmock.h>

#include "data/loader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;
using testing::ElementsAre;

class ValidationTest : public testing::Test {
 protected:
  TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_ = make_tokenizer("bytes");
  std::vector<Source> sources_{{folder_.write("a.txt", "abc\n\nde"), parse_format("text"), 1},
                               {folder_.write("b.txt", "f"), parse_format("text"), 5}};
};

TEST_F(ValidationTest, packs_each_record_once_in_file_order) {
  const auto batches = validation_batches(sources_, *tokenizer_, {5}, 2);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].rows, 2);
  EXPECT_EQ(batches[0].length, 5);
  EXPECT_THAT(batches[0].tokens, ElementsAre(256, 'a', 'b', 'c', 256, 256, 'd', 'e', 256, 'f'));
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 1));
  EXPECT_EQ(batches[1].rows, 1);
  EXPECT_THAT(batches[1].tokens, ElementsAre('f', 256, 257, 257, 257));
  EXPECT_THAT(batches[1].learn, ElementsAre(0, 1, 0, 0, 0));
  EXPECT_THAT(batches[1].positions, ElementsAre(2));
}

TEST_F(ValidationTest, gives_each_record_a_row_without_packing) {
  const auto batches = validation_batches(sources_, *tokenizer_, {5, false}, 8);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].rows, 3);
  EXPECT_THAT(batches[0].tokens,
              ElementsAre('a', 'b', 'c', 256, 257, 'd', 'e', 256, 257, 257, 'f', 256, 257, 257, 257));
}

TEST_F(ValidationTest, learns_every_byte_of_the_real_sample_once) {
  const auto file = test::sample("c4/c4_head50.jsonl");
  SKIP_WITHOUT(file);
  size_t expected = 0, learnt = 0;
  for (const auto& record : test::all_records(file, parse_format("c4"))) expected += record.answer.size() + 1;
  for (const auto& batch : validation_batches({{file.string(), parse_format("c4"), 1}}, *tokenizer_, {257}, 16)) {
    learnt += static_cast<size_t>(std::count(batch.learn.begin(), batch.learn.end(), 1));
  }
  EXPECT_EQ(learnt, expected);
}

TEST_F(ValidationTest, refuses_data_without_anything_to_learn) {
  sources_ = {{folder_.write("empty.txt", "\n"), parse_format("text"), 1}};
  EXPECT_THAT(test::data_error([&] { validation_batches(sources_, *tokenizer_, {5}, 2); }),
              testing::HasSubstr("nothing to learn"));
}

}  // namespace
}  // namespace lmnet
