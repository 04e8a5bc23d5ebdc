#include "data/unit.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <map>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

/// Grows a file to so many bytes that take no room on the disk.
std::string sparse(const TempFolder& folder, const std::string& name, uintmax_t bytes) {
  const auto path = folder.write(name, "not read yet");
  std::filesystem::resize_file(path, bytes);
  return path;
}

/// How often each record of each file is dealt, over all streams.
std::map<std::pair<std::filesystem::path, int64_t>, int> dealt_records(const Shards& shards, int64_t streams,
                                                                       int64_t before) {
  std::map<std::pair<std::filesystem::path, int64_t>, int> times;
  for (int64_t stream = 0; stream < streams; ++stream) {
    int64_t dealt = before;
    const auto hands = deal(shards, parse_format("c4"), {stream, stream + 1, streams}, 1, dealt);
    for (const Unit& unit : hands[0]) {
      const auto file = std::find(shards.files.begin(), shards.files.end(), unit.file) - shards.files.begin();
      for (int64_t record = unit.first; record < shards.records[file]; record += unit.stride)
        ++times[{unit.file, record}];
    }
  }
  return times;
}

TEST(Shards, are_whole_and_unread_where_there_are_many_of_some_size) {
  TempFolder folder;
  const std::vector<std::filesystem::path> files(4, sparse(folder, "bad.jsonl", 8 << 20));
  EXPECT_TRUE(find_shards(files, parse_format("c4"), 4).whole);
  EXPECT_FALSE(find_shards(files, parse_format("c4"), 5).whole);
  EXPECT_TRUE(find_shards(files, parse_format("c4"), 5).records.empty());
}

TEST(Shards, of_small_sources_are_counted_and_dealt_record_by_record) {
  TempFolder folder;
  const auto shards = find_shards(
      {folder.write("a.jsonl", test::c4_lines("a", 0, 7)), folder.write("b.jsonl.gz", test::c4_lines("b", 0, 3))},
      parse_format("c4"), 2);
  EXPECT_FALSE(shards.whole);
  EXPECT_THAT(shards.records, testing::ElementsAre(7, 3));
}

TEST(Shards, tell_bad_records_and_sources_without_any_at_once) {
  TempFolder folder;
  const auto bad = folder.write("bad.jsonl", test::c4_lines("a", 0, 9) + "{}\n");
  EXPECT_THAT(test::data_error([&] { find_shards({bad}, parse_format("c4"), 2); }),
              testing::HasSubstr("record 9 (line 10)"));
  const auto empty = folder.write("empty.jsonl", "\n");
  EXPECT_THAT(test::data_error([&] { find_shards({empty}, parse_format("c4"), 2); }),
              testing::HasSubstr("holds no records"));
  EXPECT_THAT(test::data_error([&] { find_shards({folder.path("none.jsonl")}, parse_format("c4"), 2); }),
              testing::HasSubstr("none.jsonl: cannot be opened"));
}

TEST(Deal, gives_every_whole_file_to_one_stream) {
  TempFolder folder;
  Shards shards;
  shards.whole = true;
  for (int i = 0; i < 10; ++i) {
    shards.files.push_back(folder.path(fmt::format("{}", i)));
    shards.bytes.push_back(i);
  }
  int64_t dealt = 2;
  const auto hands = deal(shards, parse_format("c4"), {0, 4, 4}, 1, dealt);
  EXPECT_EQ(dealt, 12);
  std::multiset<std::filesystem::path> seen;
  for (size_t stream = 0; stream < 4; ++stream) {
    EXPECT_EQ(hands[stream].size(), stream < 2 ? 2u : 3u);
    for (const Unit& unit : hands[stream]) {
      seen.insert(unit.file);
      EXPECT_EQ(unit.file.filename(), fmt::format("{}", unit.bytes));
    }
  }
  EXPECT_EQ(seen, std::multiset<std::filesystem::path>(shards.files.begin(), shards.files.end()));
}

TEST(Deal, gives_every_record_to_one_stream_and_goes_on_where_the_file_before_ended) {
  TempFolder folder;
  const auto shards = find_shards(
      {folder.write("a.jsonl", test::c4_lines("a", 0, 5)), folder.write("b.jsonl", test::c4_lines("b", 0, 21)),
       folder.write("c.jsonl", test::c4_lines("c", 0, 1))},
      parse_format("c4"), 8);
  for (const int64_t before : {0, 3, 11}) {
    const auto times = dealt_records(shards, 8, before);
    EXPECT_EQ(times.size(), 27u);
    for (const auto& [record, count] : times) EXPECT_EQ(count, 1);
  }
  int64_t dealt = 0;
  const auto hands = deal(shards, parse_format("c4"), {0, 8, 8}, 1, dealt);
  EXPECT_EQ(dealt, 27);
  for (const auto& hand : hands) EXPECT_FALSE(hand.empty());
  EXPECT_EQ(hands[5].front().file, shards.files[1]);  // its record 0 follows the five of the first file
}

}  // namespace
}  // namespace lmnet
