#include "data/record_walk.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

std::vector<std::string> read(RecordWalk& walk, int count) {
  std::vector<std::string> texts;
  Record record;
  for (int i = 0; i < count; ++i) {
    walk.next(record);
    walk.learnt();
    texts.push_back(record.answer);
  }
  return texts;
}

TEST(RecordWalk, gives_every_record_once_an_epoch_and_each_epoch_another_order) {
  TempFolder folder;
  // One unit of more than one block, and small ones.
  std::vector<Unit> units{{folder.write("a.jsonl.gz", test::c4_lines("a", 0, 2500)), {}, Unit::to_the_end}};
  const auto small = folder.write("b.jsonl", test::c4_lines("b", 0, 40));
  for (const Unit& unit : make_units({small}, Format::c4, 3)) units.push_back(unit);
  RecordWalk walk(units, Format::c4, 5);
  auto first = read(walk, 2540), second = read(walk, 2540);
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(std::adjacent_find(first.begin(), first.end()), first.end());
}

TEST(RecordWalk, ends_a_block_at_a_mebibyte_of_text) {
  TempFolder folder;
  std::string lines;
  for (int i = 0; i < 12; ++i) lines += fmt::format("{{\"text\":\"{}{}\"}}\n", char('a' + i), std::string(300000, 'x'));
  RecordWalk walk({{folder.write("long.jsonl", lines), {}, Unit::to_the_end}}, Format::c4, 1);
  Record record;
  for (int i = 0; i < 5; ++i) walk.next(record);
  EXPECT_EQ(walk.place().block, 4);
  EXPECT_EQ(walk.place().record, 1);
}

TEST(RecordWalk, goes_to_any_place_it_told) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl.gz", test::c4_lines("a", 0, 1500));
  const std::vector<Unit> units{{file, {}, Unit::to_the_end}, {file, {700, 0, 0}, 60}, {file, {100, 0, 0}, 1}};
  RecordWalk walk(units, Format::c4, 9), other(units, Format::c4, 9);
  for (const int step : {0, 1, 59, 60, 964, 1, 475, 2, 700, 1500}) {
    read(walk, step);
    other.go(walk.place());
    const auto place = walk.place();
    EXPECT_EQ(read(walk, 70), read(other, 70));
    walk.go(place);
  }
}

TEST(RecordWalk, refuses_places_that_the_data_does_not_have) {
  TempFolder folder;
  RecordWalk walk({{folder.write("a.jsonl", test::c4_lines("a", 0, 5)), {}, Unit::to_the_end}}, Format::c4, 1);
  EXPECT_THROW(walk.go({0, 1, 0, 0}), DataError);
  EXPECT_THROW(walk.go({-1, 0, 0, 0}), DataError);
  Record record;
  for (const RecordWalk::Place& place : {RecordWalk::Place{0, 0, 6, 0}, {0, 0, 0, 6}, {0, 0, 5, 1}}) {
    walk.go(place);
    EXPECT_THAT(test::data_error([&] { walk.next(record); }), testing::HasSubstr("was it changed?"));
  }
}

TEST(RecordWalk, ends_when_a_whole_epoch_taught_nothing) {
  TempFolder folder;
  RecordWalk walk({{folder.write("a.jsonl", test::c4_lines("a", 0, 5)), {}, Unit::to_the_end}}, Format::c4, 1);
  Record record;
  for (int i = 0; i < 5; ++i) walk.next(record);
  EXPECT_FALSE(walk.next(record));
  RecordWalk none({{folder.write("empty.jsonl", ""), {}, Unit::to_the_end}}, Format::c4, 1);
  EXPECT_FALSE(none.next(record));
}

}  // namespace
}  // namespace lmnet
