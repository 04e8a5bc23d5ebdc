#include "data/row_reader.h"

#include <gmock/gmock.h>

#include "data/errors.h"
#include "data/format_file.h"
#include "data/record_reader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::all_records;
using test::data_error;
using test::TempFolder;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> answers(const std::string& file, const Format& format) {
  std::vector<std::string> texts;
  for (const Record& record : all_records(file, format)) texts.push_back(record.prompt + "|" + record.answer);
  return texts;
}

const Format& two_columns() {
  static const Format format = parse_format_yaml("{prompt: \"{a}\", answer: \"{b}\"}", "two");
  return format;
}

TEST(Csv, has_quotes_commas_line_ends_and_empty_cells) {
  TempFolder folder;
  const std::string rows =
      "b,a\r\n\"x, \"\"y\"\"\",1\r\n\"two\r\nlines\",\r\n\r\n , \"2\"\n\"\",\"3\" \nin\"side,4\r\nlast,5";
  for (const char* name : {"a.csv", "a.csv.gz", "A.CSV", "a.csv.zst"})
    EXPECT_THAT(answers(folder.write(name, "\xef\xbb\xbf" + rows), two_columns()),
                ElementsAre("1|x, \"y\"", "|two\r\nlines", " \"2\"| ", "3|", "4|in\"side", "5|last"))
        << name;
  EXPECT_THAT(answers(folder.write("a.tsv", "a\tb\n1,2\t\"3\t4\"\n"), two_columns()), ElementsAre("1,2|3\t4"));
}

TEST(Csv, takes_the_names_of_columns_from_the_format_where_the_file_has_none) {
  TempFolder folder;
  const Format format = parse_format_yaml("{header: [a, b], prompt: \"{a}\", answer: \"{b}\"}", "two");
  EXPECT_THAT(answers(folder.write("a.csv", "1,2\n3,4\n"), format), ElementsAre("1|2", "3|4"));
}

TEST(Csv, names_record_line_and_fault) {
  TempFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"3\n", "record 1 (line 4): has 1 columns, not 2"},
      {"3,4,5\n", "record 1 (line 4): has 3 columns, not 2"},
      {"\"3\" x,4\n", "record 1 (line 4): text after the closing quote of column 1"},
      {"3,\"4\n5,6\n", "record 1 (line 4): the file is cut off inside this record"}};
  for (const auto& [row, fault] : cases) {
    const auto file = folder.write("a.csv", std::string("a,b\n\"1\n\",2\n") + row);
    EXPECT_THAT(data_error([&] { answers(file, two_columns()); }), HasSubstr(file + ": " + fault));
  }
  EXPECT_THAT(data_error([&] { answers(folder.write("a.csv", "a,c\n1,2\n"), two_columns()); }),
              HasSubstr("record 0 (line 2): the field \"b\" is missing"));
  EXPECT_THAT(data_error([&] { answers(folder.write("a.csv", "\"a\"x,b\n"), two_columns()); }),
              HasSubstr("record 0: the row that names the columns has text after"));
  EXPECT_TRUE(answers(folder.write("a.csv", "a,b\n"), two_columns()).empty());
  EXPECT_TRUE(answers(folder.write("a.csv", ""), two_columns()).empty());
  EXPECT_THAT(data_error([&] { answers(folder.write("a.csv", "a,\"b"), two_columns()); }),
              HasSubstr("a.csv: record 0"));
}

TEST(Csv, bounds_a_row_that_does_not_end_and_names_its_place) {
  TempFolder folder;
  const auto fault = [&](const std::string& row) {
    const auto file = folder.write("a.csv", "a,b\n1,2\n3,4\n" + row);
    if (row.size() < 99) std::filesystem::resize_file(file, 300 << 20);
    return data_error([&] { answers(file, two_columns()); });
  };
  EXPECT_THAT(fault("\"5,6\n"), HasSubstr("a.csv: record 2 (line 4): longer than 256 MiB: a quote is missing"));
  // Rows behind a quote that is missing become cells, however small.
  std::string cells;
  while (cells.size() < 25 << 20) cells += "5,\"6\n7\",,";
  EXPECT_THAT(fault(cells), HasSubstr("a.csv: record 2 (line 4): longer than 256 MiB: a quote is missing"));
}

TEST(Lines, are_split_and_trimmed_where_the_format_says_so) {
  TempFolder folder;
  const Format lines = parse_format_yaml("{rows: lines, answer: \"{text}\"}", "lines");
  EXPECT_THAT(answers(folder.write("a.txt", "one \r\n\n  \n two"), lines), ElementsAre("|one ", "| two"));
  const Format split =
      parse_format_yaml("{rows: lines, split: \"||\", header: [a, b], prompt: \"{a}\", answer: \"{b}\"}", "split");
  EXPECT_THAT(answers(folder.write("a.txt", "1 || 2 \n3||4||5\n||\n"), split), ElementsAre("1|2", "3|4||5", "|"));
  EXPECT_THAT(data_error([&] { answers(folder.write("a.txt", "1||2\n\n3|4\n"), split); }),
              HasSubstr("record 1 (line 3): has 1 columns with || between them, not 2"));
}

TEST(Json, may_be_objects_over_several_lines) {
  TempFolder folder;
  const std::string object = "{\n  \"text\": \"a } \\\" {\",\n  \"more\": {\"x\": [1]}\n}";
  for (const char* name : {"1.json", "1.json.gz"}) {
    EXPECT_THAT(answers(folder.write(name, object), parse_format("c4")), ElementsAre("|a } \" {"));
    EXPECT_THAT(answers(folder.write(name, "\n" + object + "\n" + object + "\n"), parse_format("c4")),
                ElementsAre("|a } \" {", "|a } \" {"));
  }
  const auto file = folder.write("2.json", object + "\n" + object.substr(0, 20));
  EXPECT_THAT(data_error([&] { answers(file, parse_format("c4")); }),
              HasSubstr("record 1 (line 5): the file is cut off inside this record"));
  EXPECT_THAT(data_error([&] { answers(folder.write("3.json", object + "\n7"), parse_format("c4")); }),
              HasSubstr("record 1 (line 5): is not a JSON object"));
}

TEST(Json, may_have_keys_of_a_megabyte_and_lines_of_fifty) {
  TempFolder folder;
  const std::string key(1 << 20, 'k'), text(50 << 20, 't');
  const std::string lines = "{\"" + key + "\":1,\"text\":\"first\"}\n{\"text\":\"" + text + "\"}\n";
  for (const char* name : {"a.jsonl", "a.jsonl.zst"}) {
    const auto records = all_records(folder.write(name, lines + "{\"text\":\"last\"}"), parse_format("c4"));
    ASSERT_EQ(records.size(), 3u);
    EXPECT_EQ(records[0].answer, "first");
    EXPECT_EQ(records[1].answer.size(), text.size());
    EXPECT_EQ(records[2].answer, "last");
  }
  const auto file = folder.write("b.jsonl", lines.substr(0, lines.size() - 3) + "\n{\"text\":\"last\"}");
  EXPECT_THAT(data_error([&] { all_records(file, parse_format("c4")); }), HasSubstr("record 1 (line 2): invalid JSON"));
  RecordReader reader(file, parse_format("c4").skipping_bad_records(1));
  Record record;
  ASSERT_TRUE(reader.next(record) && reader.next(record));
  EXPECT_EQ(record.answer, "last");
}

TEST(Rows, may_hold_bytes_that_are_no_text) {
  TempFolder folder;
  const std::string nul("a\0b", 3);
  EXPECT_THAT(data_error([&] { answers(folder.write("a.jsonl", "{\"text\":\"" + nul + "\"}"), parse_format("c4")); }),
              HasSubstr("record 0 (line 1): invalid JSON"));
  EXPECT_THAT(answers(folder.write("a.txt", nul + "\n"), parse_format("text")), ElementsAre("|" + nul));
  EXPECT_THAT(answers(folder.write("a.csv", "a,b\n" + nul + ",\xff\n"), two_columns()), ElementsAre(nul + "|\xff"));
}

TEST(Rows, are_none_in_an_empty_file) {
  TempFolder folder;
  for (const char* name : {"a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.json.zst"})
    for (const char* text : {"", "\n", "\xef\xbb\xbf", "\r\n\r\n"})
      EXPECT_TRUE(all_records(folder.write(name, text), parse_format("c4")).empty())
          << name << testing::PrintToString(text);
  EXPECT_TRUE(all_records(folder.write("a.json", "[]"), parse_format("c4")).empty());
  EXPECT_TRUE(all_records(folder.write("a.txt", ""), parse_format("text")).empty());
}

TEST(Rows, go_on_at_any_cursor) {
  TempFolder folder;
  std::string csv = "a,b\n", json, lines;
  for (int i = 0; i < 50; ++i) {
    csv += fmt::format("{},\"x\ny\"\n", i);
    json += fmt::format("{{\n\"a\":\"{}\",\n\"b\":\"y\"}}\n", i);
    lines += fmt::format("{}||y\n\n", i);
  }
  const Format split =
      parse_format_yaml("{rows: lines, split: \"||\", header: [a, b], prompt: \"{a}\", answer: \"{b}\"}", "split");
  const std::pair<std::string, Format> cases[] = {{folder.write("a.csv", csv), two_columns()},
                                                  {folder.write("a.csv.zst", csv), two_columns()},
                                                  {folder.write("a.json", json), two_columns()},
                                                  {folder.write("a.txt.gz", lines), split}};
  for (const auto& [file, format] : cases) {
    RecordReader whole(file, format);
    for (int i = 0; i < 50; ++i, whole.skip()) {
      RecordReader reader(file, format, whole.cursor());
      Record record;
      ASSERT_TRUE(reader.next(record));
      EXPECT_EQ(record.prompt, std::to_string(i)) << file;
    }
    EXPECT_FALSE(whole.skip());
  }
}

}  // namespace
}  // namespace lmnet
