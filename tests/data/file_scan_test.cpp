#include "data/file_scan.h"

#include <gmock/gmock.h>

#include <thread>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

class FileScanTest : public testing::Test {
 protected:
  /// The rest of a pass as a stream sees it.
  static std::vector<std::string> read(FileScan& scan, int64_t pass, int64_t from, int64_t stride, Cursor near = {}) {
    std::vector<std::string> texts;
    while (auto found = scan.take(pass, from, near)) {
      texts.push_back(found->record.answer.substr(0, found->record.answer.find('.')));
      EXPECT_EQ(texts.back(), fmt::format("a:{}", found->number));
      near = found->place;
      from = found->number + stride;
    }
    return texts;
  }
  static std::vector<std::string> expected(int from, int stride, int count) {
    std::vector<std::string> texts;
    for (int i = from; i < count; i += stride) texts.push_back(fmt::format("a:{}", i));
    return texts;
  }

  TempFolder folder_;
};

TEST_F(FileScanTest, gives_each_stream_its_records_pass_after_pass_whoever_is_ahead) {
  for (const char* name : {"a.jsonl", "a.jsonl.gz"}) {
    FileScan scan(folder_.write(name, test::c4_lines("a", 0, 100)), Format::c4, {true, false, true});
    for (const int64_t pass : {0, 1}) {
      EXPECT_EQ(read(scan, pass, 2, 3), expected(2, 3, 100));
      EXPECT_EQ(read(scan, pass, 0, 3), expected(0, 3, 100));
    }
    // The one that is two passes behind.
    EXPECT_EQ(read(scan, 2, 0, 3), expected(0, 3, 100));
    EXPECT_EQ(read(scan, 3, 0, 3), expected(0, 3, 100));
    EXPECT_EQ(read(scan, 2, 2, 3), expected(2, 3, 100));
  }
}

TEST_F(FileScanTest, starts_at_the_earliest_place_that_is_expected) {
  const auto file = folder_.write("a.jsonl", test::c4_lines("a", 0, 100));
  std::vector<Cursor> places;
  RecordReader reader(file, Format::c4);
  do places.push_back(reader.cursor());
  while (reader.skip());
  FileScan scan(file, Format::c4, {true, true});
  scan.expect(4, places[61]);
  scan.expect(4, places[50]);
  scan.expect(5, places[0]);
  EXPECT_EQ(read(scan, 4, 61, 2, places[61]), expected(61, 2, 100));
  EXPECT_EQ(read(scan, 4, 50, 2, places[50]), expected(50, 2, 100));
  EXPECT_EQ(read(scan, 5, 1, 2), expected(1, 2, 100));
}

TEST_F(FileScanTest, serves_who_comes_from_before_its_start_too) {
  const auto file = folder_.write("a.jsonl.gz", test::c4_lines("a", 0, 100));
  FileScan scan(file, Format::c4, {true, true});
  Cursor middle;
  middle.record = 50;
  scan.expect(0, middle);
  EXPECT_EQ(read(scan, 0, 50, 2, middle), expected(50, 2, 100));
  EXPECT_EQ(read(scan, 0, 1, 2), expected(1, 2, 100));
  EXPECT_EQ(read(scan, 1, 0, 2), expected(0, 2, 100));
}

TEST_F(FileScanTest, keeps_bounded_text_for_those_who_stay_behind) {
  std::string lines;
  const size_t length = FileScan::most_waiting / 16;
  for (int i = 0; i < 60; ++i) lines += fmt::format("{{\"text\":\"a:{}.{}\"}}\n", i, std::string(length, 'x'));
  FileScan scan(folder_.write("a.jsonl", lines), Format::c4, {true, true});
  EXPECT_EQ(read(scan, 0, 0, 2), expected(0, 2, 60));
  EXPECT_EQ(read(scan, 0, 1, 2), expected(1, 2, 60));
}

TEST_F(FileScanTest, repeats_what_is_wrong_to_everyone) {
  FileScan scan(folder_.write("a.jsonl", test::c4_lines("a", 0, 4) + "{\n" + test::c4_lines("a", 5, 9)), Format::c4,
                {true, true});
  EXPECT_TRUE(scan.take(0, 0, {}));
  EXPECT_TRUE(scan.take(0, 2, {}));
  for (const int64_t from : {4, 5, 7})
    EXPECT_THAT(test::data_error([&] { scan.take(0, from, {}); }), testing::HasSubstr("record 4 (line 5)"));
  EXPECT_TRUE(scan.take(0, 1, {}));
  EXPECT_TRUE(scan.take(0, 3, {}));
}

TEST_F(FileScanTest, may_be_used_from_several_threads) {
  FileScan scan(folder_.write("a.jsonl.gz", test::c4_lines("a", 0, 999)), Format::c4, {true, true, true, true});
  std::vector<std::vector<std::string>> texts(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { texts[i] = read(scan, 0, i, 4); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(texts[i], expected(i, 4, 999));
}

}  // namespace
}  // namespace lmnet
