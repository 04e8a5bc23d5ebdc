#include "data/shard_check.h"

#include <gmock/gmock.h>

#include <random>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using test::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ShardCheck : public testing::Test {
 protected:
  std::vector<std::string> check(const std::vector<std::filesystem::path>& files, const std::string& format = "c4") {
    return check_shards(files, parse_format(format));
  }
  std::string fault(const std::string& file, const std::string& format = "c4") {
    return data_error([&] { check({file}, format); });
  }

  TempFolder folder_;
  std::string lines_ = test::c4_lines("a", 0, 3000);
};

TEST_F(ShardCheck, finds_nothing_wrong_with_good_files) {
  const auto gzip = TempFolder::gzip_member(lines_);
  EXPECT_THAT(
      check({folder_.write("a.jsonl", lines_), folder_.write("a.json.gz", lines_), folder_.write("a.jsonl.zst", lines_),
             folder_.write_bytes("b.jsonl.gz", gzip + gzip + std::string(99, '\0')),
             folder_.write_bytes("c.jsonl.gz", gzip + TempFolder::gzip_member("")),
             folder_.write("list.json", " [\n{\"text\": \"a\"}\n]\n")}),
      IsEmpty());
  EXPECT_THAT(check({folder_.write("a.txt", "any text"), folder_.write("a.txt.gz", "any text")}, "text"), IsEmpty());
  EXPECT_THAT(check({folder_.write("a.csv", "mr,ref\na,b\n")}, "e2e"), IsEmpty());
}

TEST_F(ShardCheck, names_what_is_cut_off) {
  const std::string gzip = TempFolder::gzip_member(lines_), zstd = TempFolder::zstd_frame(lines_);
  EXPECT_THAT(fault(folder_.write_bytes("a.jsonl.gz", gzip.substr(0, 10))),
              HasSubstr("a.jsonl.gz: broken gzip stream"));
  // What stands where the size should be fits by chance now and then; such files are found where they are read.
  int found = 0;
  for (size_t cut = 1; cut <= 20; ++cut) {
    const auto file = folder_.write_bytes("b.jsonl.gz", gzip.substr(0, gzip.size() - 37 * cut));
    try {
      check({file});
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(),
                  HasSubstr("b.jsonl.gz: broken gzip stream (the file is cut off); fetch the file again"));
      ++found;
    }
  }
  EXPECT_GE(found, 15);
  EXPECT_THAT(fault(folder_.write_bytes("a.jsonl.zst", zstd.substr(0, zstd.size() - 9))),
              HasSubstr("broken zstd stream"));
  EXPECT_THAT(fault(folder_.write("a.jsonl", lines_.substr(0, lines_.size() - 9))),
              HasSubstr("cut off inside its last record"));
  EXPECT_THAT(fault(folder_.write("a.json", "[{\"text\": \"a\"},")), HasSubstr("cut off inside its last record"));
  EXPECT_THAT(fault(folder_.write("a.parquet", "PAR1 and then nothing")), HasSubstr("its footer is missing"));
}

/// Shards far too large to be read, which have no more than their beginning and their end on the disk.
class LargeShardCheck : public ShardCheck {
 protected:
  LargeShardCheck() {
    std::mt19937 random(3);
    std::string lines;
    while (lines.size() < 1 << 20) lines += fmt::format("{{\"text\":\"{:08x}{:08x}\"}}\n", random(), random());
    start_ = TempFolder::gzip_member(lines);
    ratio_ = static_cast<double>(lines.size()) / static_cast<double>(start_.size());
    start_.resize(128 << 10);
  }

  /// `text`: the size at its end.
  std::filesystem::path shard(const std::string& name, double mib, double text) {
    const auto size = static_cast<int64_t>(mib * (1 << 20));
    const auto number = static_cast<uint32_t>(static_cast<uint64_t>(text));
    const auto file = folder_.write_bytes(name, start_);
    std::filesystem::resize_file(file, static_cast<uintmax_t>(size - 4));
    std::ofstream out(file, std::ios::binary | std::ios::app);
    for (int shift = 0; shift < 32; shift += 8) out.put(static_cast<char>(number >> shift));
    return file;
  }
  std::vector<std::filesystem::path> whole(int count) {
    std::vector<std::filesystem::path> files;
    for (int i = 0; i < count; ++i) {
      const double mib = 300 + i, text = mib * (1 << 20) * ratio_ * (0.95 + 0.01 * i);
      files.push_back(shard(fmt::format("whole-{}.json.gz", i), mib, text));
    }
    return files;
  }
  /// How many of 200 that are cut off, with any number at their end, are warned about.
  int found_beside(std::vector<std::filesystem::path> files) {
    std::mt19937 random(9);
    int found = 0;
    for (int i = 0; i < 200; ++i) {
      files.push_back(shard("cut.json.gz", 150, random()));
      const auto warnings = check(files);
      found += static_cast<int>(warnings.size());
      for (const std::string& warning : warnings)
        EXPECT_EQ(warning, folder_.path("cut.json.gz") + ": may be cut off: the size at its end does not fit");
      files.pop_back();
    }
    return found;
  }

  std::string start_;
  double ratio_ = 0;  // text for each byte
};

TEST_F(LargeShardCheck, finds_most_that_are_cut_off_and_more_beside_others_that_are_not) {
  EXPECT_GT(found_beside({}), 100);
  EXPECT_GT(found_beside(whole(7)), 130);
}

TEST_F(LargeShardCheck, finds_nothing_wrong_with_what_is_only_unusual) {
  auto files = whole(7);
  EXPECT_THAT(check(files), IsEmpty());
  files.push_back(shard("members.json.gz", 400, 1 << 20));
  files.push_back(shard("last-is-empty.json.gz", 400, 0));
  files.push_back(shard("wraps.json.gz", 3000, 3000.0 * (1 << 20) * ratio_));
  files.push_back(shard("a-little-more.json.gz", 200, 200.0 * (1 << 20) * ratio_ * 1.4));
  start_ = TempFolder::gzip_member("{\"text\":\"" + std::string(90 << 20, 'x'));
  files.push_back(shard("of-one-letter.json.gz", 70, 4e9));
  EXPECT_THAT(check(files), IsEmpty());
  EXPECT_THAT(check({files.back()}), IsEmpty());
}

TEST_F(ShardCheck, names_what_is_not_what_its_name_says) {
  EXPECT_THAT(fault(folder_.write_bytes("a.json.gz", lines_)), HasSubstr("does not start like gzip"));
  EXPECT_THAT(fault(folder_.write_bytes("a.json.zst", lines_)), HasSubstr("does not start like zstd"));
  EXPECT_THAT(fault(folder_.write_bytes("a.json.gz", "")), HasSubstr("the file is empty"));
  EXPECT_THAT(fault(folder_.write("a.parquet", lines_)), HasSubstr("does not start like Parquet"));
  EXPECT_THAT(fault(folder_.write("a.jsonl", "<!DOCTYPE html>\n<p>404")),
              HasSubstr("is not JSON: it begins with \"<!DOCTYPE html>\""));
  EXPECT_THAT(fault(folder_.write("b.json.gz", "Not found\n")), HasSubstr("is not JSON: it begins with \"Not found\""));
  EXPECT_THAT(fault(folder_.write("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n")),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(fault(folder_.path("none.jsonl")), HasSubstr("none.jsonl: cannot be opened: No such file"));
}

TEST_F(ShardCheck, says_how_many_are_broken_and_warns_of_empty_ones) {
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < 5; ++i) files.push_back(folder_.write_bytes(fmt::format("{}.json.gz", i), "no gzip"));
  files.push_back(folder_.write("good.json.gz", lines_));
  EXPECT_THAT(data_error([&] { check(files); }),
              testing::AllOf(HasSubstr("0.json.gz: "), HasSubstr("and 4 more files are broken")));
  EXPECT_THAT(check({folder_.write("e.jsonl", "")}), ElementsAre(folder_.path("e.jsonl") + ": is empty"));
  files.clear();
  for (int i = 0; i < 13; ++i) files.push_back(folder_.write(fmt::format("e{:02}.jsonl", i), ""));
  EXPECT_THAT(check(files), ElementsAre(folder_.path("e00.jsonl") + ": is empty (and 12 more files like it)"));
}

TEST_F(ShardCheck, leaves_bad_records_to_those_who_skip_them) {
  const std::vector<std::filesystem::path> files = {folder_.write("a.jsonl", "oops\n" + lines_ + "{\"text")};
  EXPECT_THAT(check_shards(files, parse_format("c4").skipping_bad_records(5)), IsEmpty());
}

TEST_F(ShardCheck, knows_files_by_what_they_are) {
  const auto a = folder_.write("a.jsonl", lines_), b = folder_.write("b.jsonl", lines_);
  std::filesystem::create_symlink(a, folder_.path("link.jsonl"));
  std::filesystem::create_directory(folder_.path("sub"));
  EXPECT_THAT(
      files_in_both({a, b}, {folder_.path("link.jsonl"), folder_.path("sub/../b.jsonl"), folder_.path("c.jsonl")}),
      ElementsAre(folder_.path("link.jsonl"), folder_.path("sub/../b.jsonl")));
}

}  // namespace
}  // namespace lmnet
