// Damaged files of records and of formats: each is read or refused with a DataError that names it; reading goes on at
// any place as it would have without a stop; what is skipped changes nothing in the other records.
#include <gmock/gmock.h>

#include <algorithm>

#include "data/record_reader.h"
#include "tests/data/mutator.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;

using namespace std::string_view_literals;

/// What files of records are made of.
constexpr std::string_view words[] = {
    "\""sv,      "\\"sv,        "\\u"sv, "\\ud800"sv,   "\\u0000"sv,   "\xff"sv, "\xef\xbb\xbf"sv,
    "\0"sv,      "\r\n"sv,      "\n"sv,  "\r"sv,        "{"sv,         "}"sv,    "["sv,
    "]"sv,       ","sv,         ":"sv,   "null"sv,      "1e999"sv,     "-"sv,    "[[[["sv,
    "{\"a\":"sv, "\"text\":"sv, "||"sv,  "\"role\":"sv, "\"\",\"\""sv, "\t"sv,   "  "sv,
    "{{"sv,      "|lines"sv,    "?"sv,   "[-1]"sv};

struct Seed {
  std::string name, text, format;
};

std::vector<Seed> seeds() {
  const std::string alpaca = R"({"instruction": "Do \"it\"", "input": "\ud83d\ude00", "output": "}]"})";
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "\n"}]})";
  return {{"a.jsonl", test::c4_lines("a", 0, 6), "c4"},
          {"a.json", "[" + alpaca + ",\n" + alpaca + " , " + alpaca + "]\n", "alpaca"},
          {"a.json", "{\n \"text\": \"x\",\n \"n\": [1, {\"y\": null}]\n}\n{\n \"text\": \"\"\n}", "c4"},
          {"a.jsonl", chat + "\r\n" + chat + "\n\n" + chat, "messages"},
          {"a.csv", "mr,ref\r\n\"a, \"\"b\"\"\",c\r\n\"d\ne\",f\n,\n", "e2e"},
          {"a.csv", "q,1,2,3,4,A\n\"q\nr\",1,2,3,4,B\n", "mmlu"},
          {"a.txt", "a || b\n\nc||d\n||\n", "e2e-lines"},
          {"a.txt", "one\ntwo\n\n\nthree\r\n\r\nfour", "text"}};
}

std::string told(const Record& record) {
  std::string text = record.prompt + "\x1e" + record.answer;
  for (const ChatMessage& message : record.messages) text += "\x1e" + message.role + "\x1f" + message.content;
  return text;
}

struct Reading {
  std::vector<std::pair<int64_t, std::string>> records;  // by number
  std::vector<Cursor> places;                            // before each, and at the end
  std::string fault;
};

/// From a place to the end or a fault, in no more steps than there are bytes.
Reading read(const std::string& file, const Format& format, const Cursor& start, size_t bytes) {
  Reading reading;
  try {
    RecordReader reader(file, format, start);
    Record record;
    reading.places.push_back(reader.cursor());
    while (reader.next(record)) {
      reading.records.emplace_back(reader.cursor().record - 1, told(record));
      reading.places.push_back(reader.cursor());
      if (reading.records.size() > bytes) throw std::logic_error("more records than bytes");
    }
  } catch (const DataError& error) {
    reading.fault = error.what();
    EXPECT_THAT(reading.fault, testing::StartsWith(file + ": "));
  }
  return reading;
}

TEST(RecordsFuzz, damaged_files_are_read_or_refused) {
  const TempFolder folder;
  const std::vector<Seed> all = seeds();
  std::vector<Format> fails, skips;
  for (const Seed& seed : all) {
    fails.push_back(parse_format(seed.format));
    skips.push_back(fails.back().skipping_bad_records(1000));
  }
  test::Mutator mutate(6, words);
  size_t whole = 0, skipping = 0;
  for (int i = 0; i < 3000; ++i) {
    const size_t which = mutate.below(all.size());
    std::string text = all[which].text;
    for (size_t times = mutate.below(4); times > 0; --times) mutate.change(text);
    std::string name = all[which].name;
    if (mutate.below(4) == 0) name += mutate.below(2) == 0 ? ".gz" : ".zst";
    const std::string file = folder.write(name, text);
    SCOPED_TRACE(testing::PrintToString(text));

    const Reading strict = read(file, fails[which], {}, text.size());
    const Reading lax = read(file, skips[which], {}, text.size());
    ASSERT_LE(strict.records.size(), lax.records.size());
    ASSERT_TRUE(std::equal(strict.records.begin(), strict.records.end(), lax.records.begin()));
    ASSERT_TRUE(!strict.fault.empty() || strict.records.size() == lax.records.size());
    whole += strict.fault.empty();
    skipping += lax.records.size() > strict.records.size();
    if (lax.places.empty()) continue;
    const size_t from = mutate.below(lax.places.size());
    const Reading rest = read(file, skips[which], lax.places[from], text.size());
    ASSERT_TRUE(std::equal(lax.records.begin() + static_cast<int64_t>(from), lax.records.end(), rest.records.begin(),
                           rest.records.end()));
    ASSERT_EQ(rest.fault, lax.fault);
  }
  EXPECT_GT(whole, 300u);
  EXPECT_GT(skipping, 100u);
}

TEST(RecordsFuzz, damaged_compression_is_read_to_the_damage) {
  const TempFolder folder;
  test::Mutator mutate(7, words);
  const std::string text = test::c4_lines("a", 0, 300);
  const std::string whole[] = {TempFolder::gzip_member(text), TempFolder::zstd_frame(text),
                               TempFolder::gzip_member(text.substr(0, 999)) + TempFolder::gzip_member(text.substr(999)),
                               TempFolder::zstd_frame(text.substr(0, 999)) + TempFolder::zstd_frame(text.substr(999))};
  const Format format = parse_format("c4");
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = whole[i % 4];
    for (size_t times = 1 + mutate.below(2); times > 0; --times) mutate.change(bytes);
    const std::string file = folder.write_bytes(i % 2 == 0 ? "a.jsonl.gz" : "a.jsonl.zst", bytes);
    const Reading reading = read(file, format, {}, 10 * text.size());
    EXPECT_LE(reading.records.size(), 900u);
  }
}

TEST(RecordsFuzz, damaged_formats_are_read_or_refused) {
  const TempFolder folder;
  test::Mutator mutate(8, words);
  const std::string yaml = test::read_file(test::repository() / "data/formats.yaml");
  const std::string parts[] = {
      yaml.substr(yaml.find("sharegpt:"), 600), yaml.substr(yaml.find("\nmbpp:"), 700),
      "x:\n  rows: lines\n  split: \"||\"\n  header: [a, b]\n  prompt: \"{a|trim}{{\"\n  answer:\n"
      "    - {when: not b, text: \"{a?}\"}\n    - {when: a is x y, text: '{\"b\".c[0]}'}\n"};
  const std::string row =
      folder.write("a.jsonl", R"({"a": "x y", "b": {"c": ["z"]}, "conversations": [{"from": "x"}]})");
  size_t read = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = parts[i % 3].substr(parts[i % 3][0] == '\n' ? 1 : 0);
    for (size_t times = mutate.below(3); times > 0; --times) mutate.change(text);
    try {
      Formats formats;
      const size_t known = formats.names().size();
      formats.add(folder.write("f.yaml", text));
      read += formats.names().size() > known;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith(folder.path("f.yaml")));
    }
  }
  EXPECT_GT(read, 100u);
}

}  // namespace
}  // namespace lmnet
