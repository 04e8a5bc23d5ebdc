#include "data/byte_reader.h"

#include <gmock/gmock.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <random>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;
using testing::HasSubstr;

/// Text of about `bytes` bytes that compresses somewhat.
std::string sample_text(size_t bytes) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < bytes) text += fmt::format("{{\"text\":\"{} and {}\"}}\n", random() % 5000, random());
  return text;
}

/// What is left of the text, and what ended it, if that was damage.
std::pair<std::string, std::string> rest_of(ByteReader& reader) {
  std::string text;
  try {
    for (int byte = reader.get(); byte >= 0; byte = reader.get()) text += static_cast<char>(byte);
  } catch (const BrokenCompression& broken) {
    return {text, broken.what()};
  }
  return {text, ""};
}

std::pair<std::string, std::string> read_all(const std::string& file) {
  try {
    ByteReader reader(file);
    return rest_of(reader);
  } catch (const BrokenCompression& broken) {
    return {"", broken.what()};
  }
}

class CompressedText : public testing::TestWithParam<const char*> {
 protected:
  std::string write(std::string_view text) { return folder_.write(std::string("a") + GetParam(), text); }
  std::string write_bytes(std::string_view bytes) { return folder_.write_bytes(std::string("a") + GetParam(), bytes); }
  std::string kind() const { return std::string(GetParam()) == ".zst" ? "zstd" : "gzip"; }

  TempFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(, CompressedText, testing::Values(".gz", ".zst"),
                         [](const auto& kind) { return std::string(kind.param).substr(1); });

TEST_P(CompressedText, is_read_whole_whatever_its_size) {
  for (const size_t bytes : {0, 1, 1000, 64 << 10, 65'600, 3'000'000}) {
    const std::string text = sample_text(bytes).substr(0, bytes);
    const auto [read, fault] = read_all(write(text));
    EXPECT_TRUE(read == text && fault.empty()) << bytes << fault;
  }
}

TEST_P(CompressedText, may_come_in_many_parts_that_begin_anywhere_in_what_is_read_at_once) {
  std::string parts, text;
  for (int i = 0; parts.size() < 200'000; ++i) {
    const std::string part = fmt::format("{}", i * i);
    parts += kind() == "zstd" ? TempFolder::zstd_frame(part) : TempFolder::gzip_member(part);
    text += part;
  }
  const auto [read, fault] = read_all(write_bytes(parts));
  EXPECT_TRUE(read == text && fault.empty()) << fault;
}

TEST_P(CompressedText, goes_on_anywhere) {
  const std::string text = sample_text(500'000);
  for (const auto& file : {write(text), folder_.write("plain.jsonl", text)}) {
    for (const size_t offset : {1, 9, 65'535, 65'536, 65'537, 131'072, 333'333, 499'999}) {
      ByteReader reader(file);
      reader.seek(static_cast<int64_t>(offset));
      EXPECT_EQ(reader.offset(), offset);
      EXPECT_TRUE(rest_of(reader).first == text.substr(offset)) << file << offset;
    }
    ByteReader reader(file);
    reader.seek(1'000'000);
    EXPECT_EQ(reader.peek(), -1);
  }
}

TEST_P(CompressedText, that_is_cut_off_gives_what_came_before_and_says_so) {
  const std::string text = sample_text(300'000);
  const std::string whole = test::read_file(write(text));
  size_t longest = 0;
  for (size_t size = 0; size < whole.size(); size += 100) {
    const auto [read, fault] = read_all(write_bytes(whole.substr(0, size)));
    EXPECT_TRUE(text.starts_with(read)) << size;
    EXPECT_THAT(fault, HasSubstr("broken " + kind() + " stream (" + (size == 0 ? "the file is empty" : ""))) << size;
    longest = std::max(longest, read.size());
  }
  EXPECT_GT(longest, text.size() / 2);
}

TEST_P(CompressedText, with_a_wrong_byte_is_read_to_the_damage_without_harm) {
  const std::string text = sample_text(20'000);
  const std::string whole = test::read_file(write(text));
  for (size_t at = 2; at < whole.size(); at += 1 + at / 50) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    const auto [read, fault] = read_all(write_bytes(bytes));
    EXPECT_LE(read.size(), 2 * text.size());
  }
}

TEST_P(CompressedText, that_is_none_is_told_by_its_name) {
  EXPECT_THAT(read_all(write_bytes("{\"text\": 1}")).second, HasSubstr("does not start like " + kind()));
  const auto file = write("renamed");
  std::filesystem::rename(file, folder_.path("b.jsonl"));
  EXPECT_EQ(read_all(folder_.path("b.jsonl")).first, "renamed");
}

/// How often a file is opened meanwhile.
/// -1 where this user may watch no more files.
int times_opened(const std::string& file, const std::function<void()>& action) {
  const int watch = inotify_init1(IN_NONBLOCK);
  if (watch < 0) return -1;
  EXPECT_GE(inotify_add_watch(watch, file.c_str(), IN_OPEN | IN_CLOSE), 0);
  action();
  // Equal events that follow one another are told as one, therefore closings are watched too.
  std::vector<inotify_event> events(10'000);
  const ssize_t bytes = read(watch, events.data(), events.size() * sizeof(inotify_event));
  close(watch);
  events.resize(static_cast<size_t>(std::max<ssize_t>(0, bytes)) / sizeof(inotify_event));
  return static_cast<int>(std::ranges::count_if(events, [](const auto& event) { return event.mask & IN_OPEN; }));
}

TEST_P(CompressedText, is_opened_once_on_the_way_to_a_place_in_it) {
  const auto file = write(sample_text(10'000'000));
  EXPECT_GT(std::filesystem::file_size(file), 10 * (64 << 10));
  ByteReader reader(file);
  const int opened = times_opened(file, [&] { reader.seek(9'000'000); });
  if (opened < 0) GTEST_SKIP() << "no inotify";
  EXPECT_EQ(opened, 1);
  // Nor does it stay open.
  int open = 0;
  for (const auto& handle : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    open += std::filesystem::read_symlink(handle, ignored) == file;
  }
  EXPECT_EQ(open, 0);
}

TEST(ByteReader, passes_over_frames_of_zstd_that_hold_no_text) {
  TempFolder folder;
  const std::string skippable = std::string("\x51\x2a\x4d\x18\x03\0\0\0", 8) + "abc";
  const auto file = folder.write_bytes("a.zst", skippable + TempFolder::zstd_frame("text") + skippable);
  EXPECT_EQ(read_all(file).first, "text");
}

/// As zstd --long makes them.
std::string zstd_with_window(const std::string& text, int log) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  ZSTD_outBuffer out{frame.data(), frame.size(), 0};
  EXPECT_FALSE(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue)));
  EXPECT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  frame.resize(out.pos);
  return frame;
}

TEST(ByteReader, reads_zstd_with_a_long_window_up_to_128_MiB_and_says_what_to_do_above) {
  TempFolder folder;
  EXPECT_EQ(read_all(folder.write_bytes("27.zst", zstd_with_window("some text", 27))).first, "some text");
  try {
    ByteReader reader(folder.write_bytes("28.zst", zstd_with_window("some text", 28)));
    ADD_FAILURE() << "no error";
  } catch (const BrokenCompression& damage) {
    ADD_FAILURE() << damage.what();
  } catch (const BrokenFile& broken) {
    EXPECT_THAT(broken.what(), HasSubstr("a window above 128 MiB"));
    EXPECT_THAT(broken.what(), HasSubstr("compress it again: zstd -dc --long=31 OLD | zstd --long=27 -o NEW"));
  }
}

TEST(ByteReader, takes_zeros_behind_gzip_for_padding_and_nothing_else) {
  TempFolder folder;
  const std::string member = test::read_file(folder.write("a.gz", "text"));
  EXPECT_EQ(read_all(folder.write_bytes("b.gz", member + std::string(200'000, '\0'))).first, "text");
  const auto [read, fault] = read_all(folder.write_bytes("c.gz", member + "more of the same"));
  EXPECT_EQ(read, "text");
  EXPECT_EQ(fault, "broken gzip stream (no gzip header where one should be)");
}

TEST(ByteReader, names_compressions_that_it_cannot_read) {
  TempFolder folder;
  EXPECT_THAT(test::data_error([&] { ByteReader reader(folder.write_bytes("a.bz2", "BZh91AY")); }), HasSubstr("bzip2"));
  EXPECT_THAT(test::data_error([&] {
                ByteReader reader(folder.write_bytes("a.xz",
                                                     "\xfd"
                                                     "7zXZ"));
              }),
              HasSubstr("xz"));
}

}  // namespace
}  // namespace lmnet
