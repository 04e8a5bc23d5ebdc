#include "data/record.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "data/record_reader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::all_records;
using test::data_error;
using test::sample;
using test::TempFolder;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const std::string& file, const Format& format) {
  return data_error([&] { all_records(file, format); });
}

TEST(Expand, sorts_what_a_glob_names_and_takes_a_file_with_brackets_as_it_is) {
  TempFolder folder;
  folder.write("b-10.txt", "");
  folder.write("b-02.txt", "");
  folder.write("b[0].txt", "");
  std::filesystem::create_directory(folder.path("b-99.txt"));
  EXPECT_THAT(expand(folder.path("b-*.txt")), testing::ElementsAre(folder.path("b-02.txt"), folder.path("b-10.txt")));
  EXPECT_THAT(expand(folder.path("b[0].txt")), testing::ElementsAre(folder.path("b[0].txt")));
}

TEST(Expand, names_what_is_missing) {
  TempFolder folder;
  EXPECT_THAT(data_error([&] { expand(folder.path("none.jsonl")); }),
              AllOf(HasSubstr(folder.path("none.jsonl")), HasSubstr("no such file")));
  EXPECT_THAT(data_error([&] { expand(folder.path("*.jsonl")); }), HasSubstr("no file has such a name"));
  EXPECT_THAT(data_error([&] { expand(folder.path("")); }),
              HasSubstr("there is no file in it whose name ends in .json"));
}

TEST(Expand, takes_several_and_all_files_of_data_in_a_folder) {
  TempFolder folder;
  std::filesystem::create_directories(folder.path("sub/deep"));
  std::filesystem::create_directories(folder.path(".hidden"));
  const auto b = folder.write("sub/deep/b.json.gz", ""), a = folder.write("sub/a.csv", ""),
             c = folder.write("c.txt", "");
  folder.write("sub/README.md", "");
  folder.write("sub/.d.json", "");
  folder.write(".hidden/e.json", "");
  EXPECT_THAT(expand(folder.path("sub")), testing::ElementsAre(a, b));
  EXPECT_THAT(expand(std::vector<std::string>{c, folder.path("sub"), folder.path("*.txt"), a}),
              testing::ElementsAre(c, a, b));
}

TEST(Expand, takes_a_file_once_whatever_links_lead_to_it) {
  TempFolder folder;
  const auto a = folder.write("a.jsonl", ""), b = folder.write("b.jsonl", ""), c = folder.write("c.jsonl", "");
  std::filesystem::create_symlink("a.jsonl", folder.path("z-link.jsonl"));
  std::filesystem::create_hard_link(b, folder.path("z-hard.jsonl"));
  std::filesystem::create_directory_symlink(folder.path(""), folder.path(".hidden"));
  EXPECT_THAT(expand(folder.path("")), testing::ElementsAre(a, b, c));
  EXPECT_THAT(expand(folder.path("*.jsonl")), testing::ElementsAre(a, b, c));
  EXPECT_THAT(expand(folder.path("z-*")),
              testing::ElementsAre(folder.path("z-hard.jsonl"), folder.path("z-link.jsonl")));
}

TEST(Expand, names_a_link_in_a_folder_that_leads_nowhere) {
  TempFolder folder;
  folder.write("a.jsonl", "");
  std::filesystem::create_symlink("/gone/notes.md", folder.path("notes.md"));
  EXPECT_EQ(expand(folder.path("")).size(), 1u);
  for (const char* name : {"b.jsonl", "shards"}) {
    std::filesystem::create_symlink("/gone/data", folder.path(name));
    EXPECT_THAT(data_error([&] { expand(folder.path("")); }),
                HasSubstr(folder.path(name) + ": is a link to /gone/data, which is not there"));
    std::filesystem::remove(folder.path(name));
  }
}

TEST(C4, reads_lines_whatever_their_ends_blanks_and_mark) {
  TempFolder folder;
  const auto file = folder.write("a.jsonl",
                                 "\xef\xbb\xbf\r\n{\"text\":\"a\\u00e9\\ud83d\\ude00\\/\\n\"}\r\n\r\n  \n"
                                 "{\"url\":\"u\",\"text\":\"\"}");
  const auto records = all_records(file, parse_format("c4"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].prompt, "");
  EXPECT_EQ(records[0].answer, "aé\xf0\x9f\x98\x80/\n");
  EXPECT_EQ(records[1].answer, "");
}

TEST(C4, numbers_records_and_stops_where_told) {
  TempFolder folder;
  for (const char* name : {"a.jsonl", "a.jsonl.gz"}) {
    const auto file = folder.write(name, test::c4_lines("a", 0, 30));
    EXPECT_EQ(all_records(file, parse_format("c4"))[27].answer.substr(0, 5), "a:27.");
    int calls = 0;
    read_records(file, parse_format("c4"), [&](int64_t, Record&&) { return ++calls < 4; });
    EXPECT_EQ(calls, 4);
  }
}

TEST(C4, names_file_record_line_and_fault_of_a_bad_record) {
  TempFolder folder;
  const std::string good = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"text\":\"c\n", "invalid JSON"},
      {"{\"text\":\"c\"} x\n", "invalid JSON"},
      {"{\"text\":\"\xff\"}\n", "invalid JSON"},
      {"{\"text\":\"\\ud800\"}\n", "invalid JSON"},
      {"{\"txt\":\"c\"}\n", "the field \"text\" is missing"},
      {"{\"text\":3}\n", "the field \"text\" is a number, not text"},
      {"{\"text\":null}\n", "the field \"text\" is null, not text"},
      {"[\"text\"]\n", "is a list, not a JSON object"},
  };
  for (const auto& [line, fault] : cases) {
    const auto file = folder.write("bad.jsonl", good + line + good);
    EXPECT_THAT(error_of(file, parse_format("c4")), AllOf(HasSubstr(file + ": record 2 (line 4): "), HasSubstr(fault)));
  }
}

TEST(C4, reads_the_real_samples) {
  SKIP_WITHOUT(sample("c4"));
  EXPECT_EQ(all_records(sample("c4/c4_head50.jsonl"), parse_format("c4")).size(), 50u);
  const auto shards = expand(sample("c4/en/c4-train.*.json.gz").string());
  std::vector<Record> records;
  for (const auto& shard : shards) {
    for (auto& record : all_records(shard, parse_format("c4"))) records.push_back(std::move(record));
  }
  ASSERT_EQ(records.size(), 700u);
  EXPECT_TRUE(records[0].answer.starts_with("Beginners BBQ Class"));
  std::ifstream lines(sample("c4/c4_head50.jsonl"));
  std::string line;
  for (size_t i = 0; std::getline(lines, line); ++i) {
    EXPECT_EQ(records[i].answer, nlohmann::json::parse(line).at("text").get<std::string>()) << i;
  }
}

TEST(Alpaca, has_the_published_prompts) {
  TempFolder folder;
  const auto records = all_records(folder.write("a.json", R"([{"instruction": "Add.", "input": "1 2", "output": "3"},
                                 {"instruction": "Add.", "input": "", "output": "?"}])"),
                                   parse_format("alpaca"));
  EXPECT_EQ(
      records[0].prompt,
      "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
      "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n"
      "### Response:");
  EXPECT_EQ(records[1].prompt,
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nAdd.\n\n### Response:");
}

TEST(Alpaca, reads_a_list_like_lines) {
  TempFolder folder;
  const std::string items[] = {"{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}",
                               "{\"output\":\"}]{[\\\"\\\\\",\"instruction\":\"i2\",\"input\":\"in\"}",
                               "{\"instruction\":\"i3\",\"input\":null,\"output\":\"\",\"more\":[{\"a\":\"]\"}]}",
                               "{\"instruction\":\"i4\",\"output\":\"o4\"}"};
  std::string list = "\xef\xbb\xbf \r\n[", lines;
  for (const auto& item : items) {
    if (lines.size()) list += "\r\n ,";
    list += item;
    lines += item + "\n";
  }
  const auto of_lines = all_records(folder.write("a.jsonl", lines), parse_format("alpaca"));
  for (const char* name : {"a.json", "a.json.gz"}) {
    const auto of_list = all_records(folder.write(name, list + "\n]\n"), parse_format("alpaca"));
    ASSERT_EQ(of_list.size(), 4u);
    for (size_t i = 0; i < of_list.size(); ++i) {
      EXPECT_EQ(of_list[i].prompt, of_lines[i].prompt);
      EXPECT_EQ(of_list[i].answer, of_lines[i].answer);
    }
    EXPECT_EQ(of_list[1].prompt, test::alpaca_prompt("i2", "in"));
    EXPECT_EQ(of_list[1].answer, "}]{[\"\\");
    EXPECT_EQ(of_list[2].prompt, test::alpaca_prompt("i3", ""));
  }
  EXPECT_TRUE(all_records(folder.write("empty.json", "[ ]"), parse_format("alpaca")).empty());
}

TEST(Alpaca, names_file_record_line_and_fault_in_a_list) {
  TempFolder folder;
  const std::string item = "{\"instruction\":\"i\",\n\"output\":\"o\"}";
  const std::pair<std::string, const char*> cases[] = {
      {",\n{\"instruction\":\"i\"}]", "the field \"output\" is missing"},
      {",\n{\"instruction\":7,\"output\":\"\"}]", "the field \"instruction\" is a number, not text"},
      {",\n{\"instruction\" \"output\"}]", "invalid JSON"},
      {",\n7]", "is not a JSON object"},
      {",\n{\"instruction\":\"i", "cut off inside this record"},
      {"\n ", "its `]` is missing"},
      {"\n {}]", "a comma is missing"},
      {"\n] x", "text after the list's `]`"},
  };
  for (const auto& [rest, fault] : cases) {
    const auto file = folder.write("bad.json", "[" + item + rest);
    EXPECT_THAT(error_of(file, parse_format("alpaca")), AllOf(HasSubstr(file + ": record 1 (line "), HasSubstr(fault)));
  }
}

TEST(Alpaca, reads_the_real_sample) {
  SKIP_WITHOUT(sample("alpaca"));
  const auto file = sample("alpaca/alpaca_en_demo.json");
  const auto records = all_records(file, parse_format("alpaca"));
  const auto json = nlohmann::json::parse(test::read_file(file));
  ASSERT_EQ(records.size(), json.size());
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].answer, json[i]["output"].get<std::string>());
    EXPECT_EQ(records[i].prompt,
              test::alpaca_prompt(json[i]["instruction"].get<std::string>(), json[i]["input"].get<std::string>()));
  }
}

TEST(Messages, are_chats_in_a_list_or_in_lines) {
  TempFolder folder;
  const std::string chat =
      R"({"id": 3, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]})";
  for (const auto& file :
       {folder.write("a.jsonl", chat + "\n" + chat), folder.write("a.json", "[" + chat + "," + chat + "]")}) {
    const auto records = all_records(file, parse_format("messages"));
    ASSERT_EQ(records.size(), 2u);
    ASSERT_EQ(records[1].messages.size(), 2u);
    EXPECT_EQ(records[1].messages[1].role, "assistant");
    EXPECT_EQ(records[1].messages[1].content, "Yes?");
    EXPECT_EQ(records[1].bytes(), 19u);
  }
}

TEST(Messages, names_file_record_and_fault) {
  TempFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {R"({"text": "x"})", "has no list \"messages\""},
      {R"({"messages": []})", "has no messages"},
      {R"({"messages": [{"role": "user"}]})", "message 0 lacks \"role\" or \"content\""},
      {R"({"messages": [{"role": "user", "content": 3}]})", "message 0 lacks"},
      {R"({"messages": ["hello"]})", "message 0 lacks"}};
  for (const auto& [line, fault] : cases) {
    const auto file = folder.write("bad.jsonl", line);
    EXPECT_THAT(error_of(file, parse_format("messages")),
                AllOf(HasSubstr(file + ": record 0 (line 1)"), HasSubstr(fault)));
  }
}

TEST(Text, is_cut_at_blank_lines_and_keeps_inner_line_ends) {
  TempFolder folder;
  const auto records =
      all_records(folder.write("a.txt", "\r\n\r\none\r\n two\r\n\r\n \t\nthree"), parse_format("text"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].answer, "one\n two");
  EXPECT_EQ(records[1].answer, "three");
}

TEST(Text, reads_the_real_sample) {
  SKIP_WITHOUT(sample("corpus"));
  const auto records = all_records(sample("corpus/tiny_shakespeare.txt"), parse_format("text"));
  EXPECT_EQ(records.size(), 7222u);
  EXPECT_EQ(records[0].answer, "First Citizen:\nBefore we proceed any further, hear me speak.");
}

TEST(RecordReader, goes_on_at_any_cursor) {
  TempFolder folder;
  const std::string lines = "\xef\xbb\xbf" + test::c4_lines("a", 0, 3000);
  std::string list = "[" + test::c4_lines("a", 0, 3000);
  for (size_t at = 0; (at = list.find("}\n{", at)) != list.npos;) list.insert(at + 1, ",");
  for (const auto& file : {folder.write("a.jsonl", lines), folder.write("a.jsonl.gz", lines),
                           folder.write("a.jsonl.zst", lines), folder.write("a.json.gz", list + "]")}) {
    std::vector<Cursor> cursors;
    RecordReader whole(file, parse_format("c4"));
    do cursors.push_back(whole.cursor());
    while (whole.skip());
    ASSERT_EQ(cursors.size(), 3001u) << file;
    for (size_t start = 0; start <= 3000; start += 150) {
      RecordReader reader(file, parse_format("c4"), cursors[start]);
      Record record;
      for (size_t i = start; i < std::min<size_t>(start + 3, 3000); ++i) {
        ASSERT_TRUE(reader.next(record)) << file << i;
        EXPECT_TRUE(record.answer.starts_with(fmt::format("a:{}.", i))) << file;
        EXPECT_EQ(reader.cursor().record, static_cast<int64_t>(i) + 1);
        EXPECT_EQ(reader.cursor().line, cursors[i + 1].line);
      }
      EXPECT_EQ(reader.skip(), start < 3000);
    }
  }
}

TEST(Gzip, reads_several_members_and_padding) {
  TempFolder folder;
  const auto a = folder.write("a.gz", test::c4_lines("a", 0, 3)), b = folder.write("b.gz", test::c4_lines("b", 0, 2));
  const auto both = folder.path("both.jsonl.gz");
  std::ofstream(both, std::ios::binary) << test::read_file(a) << test::read_file(b) << std::string(100, '\0');
  EXPECT_EQ(all_records(both, parse_format("c4")).size(), 5u);
  std::filesystem::rename(both, folder.path("named_otherwise.jsonl"));
  EXPECT_EQ(all_records(folder.path("named_otherwise.jsonl"), parse_format("c4")).size(), 5u);
}

TEST(Gzip, cut_off_anywhere_is_told_with_file_and_record) {
  TempFolder folder;
  const std::string whole = test::read_file(folder.write("whole.jsonl.gz", test::c4_lines("a", 0, 400)));
  for (size_t size = 0; size < whole.size(); size += 1 + size / 7) {
    const auto file = folder.path("cut.jsonl.gz");
    std::ofstream(file, std::ios::binary) << whole.substr(0, size);
    EXPECT_THAT(error_of(file, parse_format("c4")),
                AllOf(HasSubstr(file + ": record "), HasSubstr("broken gzip stream")))
        << size;
  }
}

TEST(Gzip, cut_off_at_every_hundredth_byte_gives_the_records_before_and_says_so) {
  SKIP_WITHOUT(sample("c4/en"));
  TempFolder folder;
  const auto shard = sample("c4/en/c4-train.00001-of-00004.json.gz");
  const std::string whole = test::read_file(shard);
  const std::vector<Record> all = all_records(shard, parse_format("c4"));
  int64_t before = 0;
  for (size_t size = 100; size < whole.size(); size += 100) {
    const std::string file = folder.write_bytes("cut.json.gz", whole.substr(0, size));
    int64_t read = 0;
    const std::string error = data_error([&] {
      read_records(file, parse_format("c4"), [&](int64_t number, Record&& record) {
        EXPECT_EQ(record.answer, all.at(static_cast<size_t>(number)).answer);
        return ++read > 0;
      });
    });
    ASSERT_THAT(error, testing::StartsWith(fmt::format("{}: record {}: broken gzip", file, read)));
    ASSERT_GE(read, before);
    before = read;
  }
  EXPECT_GT(before, std::ssize(all) - 3);
}

TEST(Gzip, tells_how_many_records_of_a_cut_off_shard_were_whole) {
  SKIP_WITHOUT(sample("c4/en"));
  TempFolder folder;
  const std::string whole = test::read_file(sample("c4/en/c4-train.00000-of-00004.json.gz"));
  const auto file = folder.path("cut.json.gz");
  std::ofstream(file, std::ios::binary) << whole.substr(0, whole.size() / 2);
  int64_t read = 0;
  const auto take = [&](int64_t, Record&&) { return ++read > 0; };
  const std::string error = data_error([&] { read_records(file, parse_format("c4"), take); });
  EXPECT_THAT(error, testing::StartsWith(fmt::format("{}: record {}: broken gzip", file, read)));
  EXPECT_GT(read, 50);
}

TEST(Gzip, damaged_or_not_gzip_at_all_is_told) {
  TempFolder folder;
  std::string bytes = test::read_file(folder.write("a.jsonl.gz", test::c4_lines("a", 0, 400)));
  bytes[bytes.size() - 6] ^= 1;  // the checksum
  std::ofstream(folder.path("a.jsonl.gz"), std::ios::binary) << bytes;
  EXPECT_THAT(error_of(folder.path("a.jsonl.gz"), parse_format("c4")),
              HasSubstr("record 400: broken gzip stream (the checksum is wrong)"));
  std::ofstream(folder.path("b.jsonl.gz"), std::ios::binary) << test::c4_lines("a", 0, 4);
  EXPECT_THAT(error_of(folder.path("b.jsonl.gz"), parse_format("c4")), HasSubstr("does not start like gzip"));
}

}  // namespace
}  // namespace lmnet
