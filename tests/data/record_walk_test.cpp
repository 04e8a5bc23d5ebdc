#include "data/record_walk.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

std::vector<std::string> read(RecordWalk& walk, int count) {
  std::vector<std::string> texts;
  Entry entry;
  for (int i = 0; i < count; ++i) {
    walk.next(entry);
    walk.learnt();
    texts.push_back(std::get<Record>(entry).answer);
  }
  return texts;
}

/// One stream's share of a file that two streams share.
Unit half(const std::string& file, int64_t first) {
  return {file, first, 2,
          std::make_shared<FileScan>(file, parse_format("c4"), std::vector<bool>{first == 0, first == 1})};
}

WalkOrder order(uint64_t key) {
  return {.units = key, .blocks = key};
}

TEST(RecordWalk, gives_every_record_once_an_epoch_and_each_epoch_another_order) {
  TempFolder folder;
  // One unit of more than one block, a small one, and a half.
  const std::vector<Unit> units{{folder.write("a.jsonl.gz", test::c4_lines("a", 0, 2500))},
                                {folder.write("b.jsonl", test::c4_lines("b", 0, 40))},
                                half(folder.write("c.jsonl", test::c4_lines("c", 0, 21)), 1)};
  RecordWalk walk(units, parse_format("c4"), order(5));
  auto first = read(walk, 2550), second = read(walk, 2550);
  EXPECT_EQ(walk.place().epoch, 1);
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(std::adjacent_find(first.begin(), first.end()), first.end());
}

TEST(RecordWalk, goes_on_at_its_own_records_where_bad_ones_of_another_stream_lie_between) {
  TempFolder folder;
  std::string lines = test::c4_lines("a", 0, 200);
  for (const int bad : {10, 11, 32, 34, 58, 100})
    lines.replace(lines.find(fmt::format("a:{}.", bad)) - 8, 6, "\"txet\"");
  const auto file = folder.write("a.jsonl", lines);
  const Format format = parse_format("c4").skipping_bad_records(10);
  WalkOrder small = order(3);
  small.block_bytes = 60;  // a few records
  for (const int64_t stream : {0, 1}) {
    const auto walk = [&] {
      return RecordWalk({{file, stream, 2, std::make_shared<FileScan>(file, format, std::vector<bool>{true, true})}},
                        format, small);
    };
    RecordWalk whole = walk();
    std::vector<RecordWalk::Place> places;
    std::vector<std::string> texts;
    for (int i = 0; i < 90; ++i) {
      places.push_back(whole.place());
      texts.push_back(read(whole, 1).front());
    }
    for (size_t i = 0; i < places.size(); ++i) {
      RecordWalk again = walk();
      again.go(places[i]);
      const auto rest = read(again, static_cast<int>(texts.size() - i));
      ASSERT_TRUE(std::equal(rest.begin(), rest.end(), texts.begin() + static_cast<std::ptrdiff_t>(i))) << i;
    }
  }
}

TEST(RecordWalk, ends_a_block_at_so_many_bytes_of_text) {
  TempFolder folder;
  std::string lines;
  for (int i = 0; i < 12; ++i) lines += fmt::format("{{\"text\":\"{}{}\"}}\n", char('a' + i), std::string(3000, 'x'));
  WalkOrder small = order(1);
  small.block_bytes = 10'000;
  RecordWalk walk({{folder.write("long.jsonl", lines)}}, parse_format("c4"), small);
  Entry entry;
  for (int i = 0; i < 5; ++i) walk.next(entry);
  EXPECT_EQ(walk.place().block.record, 4);
  EXPECT_EQ(walk.place().record, 1);
}

TEST(RecordWalk, goes_to_any_place_it_told) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl.gz", test::c4_lines("a", 0, 1500));
  const auto plain = folder.write("b.jsonl", test::c4_lines("b", 0, 2100));
  const auto units = [&] { return std::vector<Unit>{{file}, half(plain, 0), half(file, 1)}; };
  RecordWalk walk(units(), parse_format("c4"), order(9)), other(units(), parse_format("c4"), order(9));
  for (const int step : {0, 1, 59, 60, 964, 1, 475, 2, 700, 1500}) {
    read(walk, step);
    other.reset();
    other.go(walk.place());
    const auto place = walk.place();
    EXPECT_EQ(read(walk, 70), read(other, 70));
    walk.reset();
    walk.go(place);
  }
}

TEST(RecordWalk, refuses_places_that_the_data_does_not_have) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl", test::c4_lines("a", 0, 5));
  for (const Unit& unit : {Unit{file}, half(file, 0)}) {
    RecordWalk walk({unit}, parse_format("c4"), order(1));
    EXPECT_THROW(walk.go({0, 1, {}, 0}), DataError);
    EXPECT_THROW(walk.go({-1, 0, {}, 0}), DataError);
    Entry entry;
    for (const RecordWalk::Place& place : {RecordWalk::Place{0, 0, {6, 6, 500}, 0}, {0, 0, {}, 6}}) {
      walk.reset();
      walk.go(place);
      EXPECT_THAT(test::data_error([&] { walk.next(entry); }), testing::HasSubstr("was it changed?"));
    }
  }
}

TEST(RecordWalk, ends_when_a_whole_epoch_taught_nothing) {
  TempFolder folder;
  RecordWalk walk({{folder.write("a.jsonl", test::c4_lines("a", 0, 5))}}, parse_format("c4"), order(1));
  Entry entry;
  for (int i = 0; i < 5; ++i) walk.next(entry);
  EXPECT_FALSE(walk.next(entry));
  RecordWalk none({{folder.write("empty.jsonl", "")}}, parse_format("c4"), order(1));
  EXPECT_FALSE(none.next(entry));
}

TEST(RecordWalk, ends_after_its_last_epoch_also_when_it_goes_there) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl", test::c4_lines("a", 0, 5));
  WalkOrder twice = order(1);
  twice.epochs = 2;
  RecordWalk walk({{file}}, parse_format("c4"), twice), other({{file}}, parse_format("c4"), twice);
  read(walk, 10);
  Entry entry;
  EXPECT_FALSE(walk.next(entry));
  EXPECT_TRUE(walk.ended());
  other.go(walk.place());
  EXPECT_FALSE(other.next(entry));
}

}  // namespace
}  // namespace lmnet
