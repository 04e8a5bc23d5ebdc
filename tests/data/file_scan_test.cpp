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
    std::vector<SkippedRecord> skipped;
    while (auto found = scan.take(pass, from, near, skipped)) {
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
    FileScan scan(folder_.write(name, test::c4_lines("a", 0, 100)), parse_format("c4"), {true, false, true});
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
  RecordReader reader(file, parse_format("c4"));
  do places.push_back(reader.cursor());
  while (reader.skip());
  FileScan scan(file, parse_format("c4"), {true, true});
  scan.expect(4, places[61]);
  scan.expect(4, places[50]);
  scan.expect(5, places[0]);
  EXPECT_EQ(read(scan, 4, 61, 2, places[61]), expected(61, 2, 100));
  EXPECT_EQ(read(scan, 4, 50, 2, places[50]), expected(50, 2, 100));
  EXPECT_EQ(read(scan, 5, 1, 2), expected(1, 2, 100));
}

TEST_F(FileScanTest, serves_who_comes_from_before_its_start_too) {
  const auto file = folder_.write("a.jsonl.gz", test::c4_lines("a", 0, 100));
  FileScan scan(file, parse_format("c4"), {true, true});
  RecordReader reader(file, parse_format("c4"));
  while (reader.cursor().record < 50) reader.skip();
  const Cursor middle = reader.cursor();
  scan.expect(0, middle);
  EXPECT_EQ(read(scan, 0, 50, 2, middle), expected(50, 2, 100));
  EXPECT_EQ(read(scan, 0, 1, 2), expected(1, 2, 100));
  EXPECT_EQ(read(scan, 1, 0, 2), expected(0, 2, 100));
}

TEST_F(FileScanTest, keeps_bounded_text_for_those_who_stay_behind) {
  std::string lines;
  const size_t length = FileScan::most_waiting / 16;
  for (int i = 0; i < 60; ++i) lines += fmt::format("{{\"text\":\"a:{}.{}\"}}\n", i, std::string(length, 'x'));
  FileScan scan(folder_.write("a.jsonl", lines), parse_format("c4"), {true, true});
  EXPECT_EQ(read(scan, 0, 0, 2), expected(0, 2, 60));
  EXPECT_EQ(read(scan, 0, 1, 2), expected(1, 2, 60));
}

TEST_F(FileScanTest, repeats_what_is_wrong_to_everyone) {
  FileScan scan(folder_.write("a.jsonl", test::c4_lines("a", 0, 4) + "{\n" + test::c4_lines("a", 5, 9)),
                parse_format("c4"), {true, true});
  std::vector<SkippedRecord> skipped;
  EXPECT_TRUE(scan.take(0, 0, {}, skipped));
  EXPECT_TRUE(scan.take(0, 2, {}, skipped));
  for (const int64_t from : {4, 5, 7})
    EXPECT_THAT(test::data_error([&] { scan.take(0, from, {}, skipped); }), testing::HasSubstr("record 4 (line 5)"));
  EXPECT_TRUE(scan.take(0, 1, {}, skipped));
  EXPECT_TRUE(scan.take(0, 3, {}, skipped));
}

TEST_F(FileScanTest, tells_each_stream_of_its_bad_records) {
  std::string lines = test::c4_lines("a", 0, 20);
  for (const int bad : {0, 5, 6, 7, 8, 19}) {
    const size_t at = lines.find(fmt::format("a:{}.", bad));
    lines.replace(at - 8, 6, "\"txet\"");
  }
  const auto file = folder_.write("a.jsonl", lines);
  for (const bool both : {true, false}) {
    FileScan scan(file, parse_format("c4").skipping_bad_records(9), {true, both});
    for (const int64_t stream : {0, 1}) {
      if (stream == 1 && !both) continue;
      std::vector<int64_t> numbers, bad;
      std::vector<SkippedRecord> skipped;
      Cursor near;
      int64_t from = stream;
      while (const auto found = scan.take(0, from, near, skipped)) {
        numbers.push_back(found->number);
        near = found->place;
        from = found->number + 2;
      }
      for (const SkippedRecord& record : skipped) bad.push_back(record.record);
      using testing::ElementsAre;
      EXPECT_THAT(bad,
                  stream == 0 ? testing::Matcher<std::vector<int64_t>>(ElementsAre(0, 6, 8)) : ElementsAre(5, 7, 19));
      EXPECT_EQ(numbers.size(), 7u);
    }
  }
}

TEST_F(FileScanTest, may_be_used_from_several_threads) {
  FileScan scan(folder_.write("a.jsonl.gz", test::c4_lines("a", 0, 999)), parse_format("c4"), {true, true, true, true});
  std::vector<std::vector<std::string>> texts(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { texts[i] = read(scan, 0, i, 4); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(texts[i], expected(i, 4, 999));
}

}  // namespace
}  // namespace lmnet
