#include "data/unit.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

TEST(Units, are_the_files_unread_when_there_are_enough) {
  TempFolder folder;
  const auto bad = folder.write("bad.jsonl", "not read yet");
  const auto units = make_units({bad, bad, bad}, Format::c4, 3);
  ASSERT_EQ(units.size(), 3u);
  EXPECT_EQ(units[0].count, Unit::to_the_end);
}

TEST(Units, are_blocks_of_a_power_of_two_that_cover_every_record_once) {
  TempFolder folder;
  for (const int records : {1, 5, 64, 65, 1000, 3000}) {
    const std::vector<std::filesystem::path> files{folder.write("a.jsonl", test::c4_lines("a", 0, records)),
                                                   folder.write("b.jsonl.gz", test::c4_lines("b", 0, records / 2 + 1))};
    const auto units = make_units(files, Format::c4, 4);
    const int64_t total = records + records / 2 + 1;
    EXPECT_LE(units.size(), 64u);
    EXPECT_GE(static_cast<int64_t>(units.size()), std::min<int64_t>(total, 32));
    std::vector<std::string> texts;
    for (const Unit& unit : units) {
      RecordReader reader(unit.file, Format::c4, unit.start);
      Record record;
      for (int64_t i = 0; i < unit.count; ++i) {
        ASSERT_TRUE(reader.next(record));
        texts.push_back(record.answer);
      }
    }
    std::vector<std::string> expected;
    for (const auto& file : files) {
      for (const auto& record : test::all_records(file, Format::c4)) expected.push_back(record.answer);
    }
    EXPECT_EQ(texts, expected);
  }
}

TEST(Units, of_a_list_start_at_its_items) {
  TempFolder folder;
  std::string list = "[";
  for (int i = 0; i < 100; ++i) list += fmt::format("{}\n{{\"text\":\"{}\"}} ", i ? "," : "", i);
  const auto units = make_units({folder.write("list.json", list + "]")}, Format::c4, 2);
  for (const Unit& unit : units) {
    RecordReader reader(unit.file, Format::c4, unit.start);
    Record record;
    ASSERT_TRUE(reader.next(record));
    EXPECT_EQ(record.answer, std::to_string(unit.start.record));
  }
}

TEST(Units, tell_bad_records_and_files_without_any_at_once) {
  TempFolder folder;
  const auto bad = folder.write("bad.jsonl", test::c4_lines("a", 0, 9) + "{}\n");
  EXPECT_THAT(test::data_error([&] { make_units({bad}, Format::c4, 2); }), testing::HasSubstr("record 9 (line 10)"));
  const auto empty = folder.write("empty.jsonl", "\n");
  EXPECT_THAT(test::data_error([&] { make_units({empty}, Format::c4, 2); }), testing::HasSubstr("holds no records"));
}

}  // namespace
}  // namespace lmnet
