#include "data/skipped_record.h"

#include <gtest/gtest.h>

namespace lmnet {
namespace {

TEST(SkippedRecord, is_a_line_of_json_that_can_be_read_again) {
  const SkippedRecord bad{"a.jsonl", 3, 4, "no \"text\""};
  EXPECT_EQ(json_line(bad), "{\"file\":\"a.jsonl\",\"record\":3,\"line\":4,\"reason\":\"no \\\"text\\\"\"}\n");
  EXPECT_EQ(parse_skipped(json_line(bad)), bad);
  const SkippedRecord nameless{{}, 3, 0, "no text"};
  EXPECT_EQ(json_line(nameless), "{\"record\":3,\"line\":0,\"reason\":\"no text\"}\n");
  EXPECT_EQ(parse_skipped(json_line(nameless)), nameless);
}

TEST(SkippedRecord, may_hold_what_is_no_text) {
  EXPECT_EQ(parse_skipped(json_line({"a", 1, 2, "bad \xff"}))->reason, "bad \ufffd");
}

TEST(SkippedRecord, is_none_where_the_line_is_damaged) {
  for (const char* line :
       {"", "{\"file\":\"a\",\"rec", "[]", "7", "{\"record\":1,\"line\":2}",
        "{\"record\":-1,\"line\":2,\"reason\":\"\"}", "{\"record\":\"1\",\"line\":2,\"reason\":\"\"}"})
    EXPECT_FALSE(parse_skipped(line)) << line;
}

}  // namespace
}  // namespace lmnet
