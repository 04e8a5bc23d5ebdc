#include "data/shard_check.h"

#include <gmock/gmock.h>

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
