#include <gmock/gmock.h>

#include "data/format_file.h"
#include "data/format_spec.h"
#include "data/record_reader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::all_records;
using test::data_error;
using test::TempFolder;
using testing::AllOf;
using testing::HasSubstr;

Format format_of(const std::string& yaml) {
  return parse_format_yaml(yaml, "f.yaml");
}

std::vector<Record> records_of(const std::string& json, const Format& format) {
  TempFolder folder;
  return all_records(folder.write("a.jsonl", json), format);
}

TEST(Formats, that_come_with_lmnet_are_known_by_name) {
  for (const char* name : {"c4", "alpaca", "messages", "text", "sharegpt", "prosocial-dialog", "lamini", "gsm8k",
                           "math", "openr1-math", "mbpp", "mmlu", "e2e", "e2e-lines", "prompt-completion"})
    EXPECT_EQ(parse_format(name).spec().name, name);
  EXPECT_THAT(data_error([] { parse_format("C4"); }), AllOf(HasSubstr("\"C4\""), HasSubstr("alpaca, c4, e2e")));
  EXPECT_EQ(parse_format("c4"), parse_format("c4"));
  EXPECT_NE(parse_format("c4"), parse_format("text"));
}

TEST(Formats, tell_whether_a_part_of_a_record_is_only_read) {
  for (const char* name : {"c4", "text"}) EXPECT_FALSE(parse_format(name).masks()) << name;
  for (const char* name : {"alpaca", "messages", "prosocial-dialog", "mmlu", "e2e"})
    EXPECT_TRUE(parse_format(name).masks()) << name;
}

TEST(Formats, of_the_user_are_added_by_a_file) {
  TempFolder folder;
  Formats formats;
  formats.add(folder.write("f.yaml", "questions:\n  prompt: \"Q: {q}\\nA:\"\n  answer: \" {a}\"\n"));
  const auto records = records_of(R"({"q": "Why?", "a": "So."})", formats.get("questions"));
  EXPECT_EQ(records[0].prompt, "Q: Why?\nA:");
  EXPECT_EQ(records[0].answer, " So.");
  EXPECT_THAT(data_error([&] { formats.add(folder.write("g.yaml", "c4: {answer: \"{x}\"}\n")); }),
              HasSubstr("g.yaml: there is a format c4 already"));
}

TEST(Formats, name_file_line_and_fault_of_a_bad_one) {
  TempFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"x:\n  answr: \"{a}\"\n", "f.yaml:2: x.answr is not known; keys here are rows, split, header"},
      {"x:\n  prompt: \"{a}\"\n", "f.yaml:2: x lacks the key `answer`"},
      {"x:\n  answer: \"{a\"\n", "f.yaml:2: x.answer: a `{` is not closed"},
      {"x:\n  answer:\n    - {when: a..b, text: c}\n", "f.yaml:3: x.answer[0].when: `a..b` names no field"},
      {"x:\n  answer:\n    - {when: a}\n", "f.yaml:3: x.answer[0] lacks the key `text`"},
      {"x:\n  answer: {a: b}\n", "f.yaml:2: x.answer is no text"},
      {"x:\n  answer: a\n  answer: b\n", "x.answer is given twice"},
      {"x:\n  rows: pages\n  answer: a\n", "f.yaml:2: x.rows is neither paragraphs nor lines"},
      {"x:\n  split: \";\"\n  answer: a\n", "`split` needs `rows: lines` and a `header`"},
      {"x:\n  messages: {list: m, role: r}\n", "f.yaml:2: x.messages lacks the key `content`"},
      {"x:\n  messages: []\n", "f.yaml:2: x.messages is empty"},
      {"x:\n  answer: a\n  messages: [{role: user, content: a}]\n", "x.messages stands beside `prompt` or `answer`"},
      {"- x\n", "f.yaml:1: is no mapping"},
      {"x: {\n", "this is not valid YAML"}};
  for (const auto& [yaml, fault] : cases) {
    const auto file = folder.write("f.yaml", yaml);
    EXPECT_THAT(data_error([&] { Formats().add(file); }), HasSubstr(fault)) << yaml;
  }
  EXPECT_THAT(data_error([&] { Formats().add(folder.path("none.yaml")); }), HasSubstr("none.yaml: cannot be read"));
}

TEST(Format, takes_the_first_text_whose_condition_holds) {
  const Format format = format_of("{answer: [{when: x is 1, text: one}, {when: y, text: \"{y}\"}]}");
  EXPECT_EQ(records_of(R"({"x": 1, "y": "no"})", format)[0].answer, "one");
  EXPECT_EQ(records_of(R"({"x": 2, "y": "yes"})", format)[0].answer, "yes");
  EXPECT_THAT(data_error([&] { records_of(R"({"x": 2})", format); }),
              HasSubstr("record 0 (line 1): none of the conditions for its answer holds"));
}

TEST(Format, writes_chats_out_of_fields) {
  const Format format = format_of(
      "{messages: [{role: system, content: [{when: s, text: \"{s}\"}]}, {role: user, content: \"{q}\"}, {role: "
      "assistant, content: \"{a}\"}]}");
  const auto records =
      records_of("{\"q\":\"Hi\",\"a\":\"Yo\"}\n{\"s\":\"Be kind\",\"q\":\"Hi\",\"a\":\"Hello\"}", format);
  ASSERT_EQ(records[0].messages.size(), 2u);
  EXPECT_EQ(records[0].messages[0].role, "user");
  EXPECT_EQ(records[0].messages[1].content, "Yo");
  ASSERT_EQ(records[1].messages.size(), 3u);
  EXPECT_EQ(records[1].messages[0].content, "Be kind");
}

TEST(Format, follows_the_names_that_the_data_has) {
  std::map<std::string, std::string> columns;
  columns.emplace("instruction", "task.text");
  columns.emplace("output", "replies[0]");
  const Format alpaca = parse_format("alpaca");
  const Format renamed = alpaca.with_columns(columns);
  const auto records = records_of(R"({"task": {"text": "Add."}, "input": "1 2", "replies": ["3", "4"]})", renamed);
  EXPECT_EQ(records[0].prompt, test::alpaca_prompt("Add.", "1 2"));
  EXPECT_EQ(records[0].answer, "3");
  EXPECT_NE(renamed.hash(), alpaca.hash());
  columns.emplace("label", "x");
  EXPECT_THAT(data_error([&] { alpaca.with_columns(columns); }),
              HasSubstr("the format alpaca reads no field \"label\"; it reads: input, instruction, output"));
}

TEST(Format, follows_the_names_that_a_chat_has) {
  std::map<std::string, std::string> columns;
  columns.emplace("messages", "dialog");
  columns.emplace("role", "speaker");
  columns.emplace("content", "body.text");
  const auto records = records_of(R"({"dialog": [{"speaker": "user", "body": {"text": "Hi"}}]})",
                                  parse_format("messages").with_columns(columns));
  EXPECT_EQ(records[0].messages[0].content, "Hi");
}

TEST(Format, passes_over_bad_records_where_it_says_so) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl", "{\"text\":\"a\"}\n{\n\n{\"txt\":\"b\"}\n{\"text\":\"c\"}\n7\n");
  RecordReader reader(file, parse_format("c4").skipping_bad_records(10));
  Record record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.answer, "a");
  EXPECT_TRUE(reader.skipped().empty());
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.answer, "c");
  EXPECT_EQ(reader.cursor().record, 4);
  ASSERT_EQ(reader.skipped().size(), 2u);
  EXPECT_EQ(reader.skipped()[0].file, file);
  EXPECT_EQ(reader.skipped()[0].record, 1);
  EXPECT_EQ(reader.skipped()[0].line, 2);
  EXPECT_THAT(reader.skipped()[0].reason, HasSubstr("invalid JSON"));
  EXPECT_EQ(reader.skipped()[1], (SkippedRecord{file, 2, 4, "the field \"text\" is missing"}));
  EXPECT_FALSE(reader.next(record));
  EXPECT_EQ(reader.skipped().size(), 1u);
  EXPECT_EQ(reader.cursor().record, 5);
}

}  // namespace
}  // namespace lmnet
