// The formats that come with LMNet, over real samples where there are any, else over rows in the published shape.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "data/format_file.h"
#include "data/record_reader.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::all_records;
using test::sample;
using test::TempFolder;
using testing::HasSubstr;
using Json = nlohmann::json;

/// The objects of a file of JSON lines, read in another way.
std::vector<Json> json_lines(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<Json> objects;
  for (std::string line; std::getline(in, line);) objects.push_back(Json::parse(line));
  return objects;
}

std::vector<Record> records_of(const Json& json, const std::string& format) {
  TempFolder folder;
  return all_records(folder.write("a.json", json.dump(1)), parse_format(format));
}

TEST(FormatSamples, gsm8k) {
  SKIP_WITHOUT(sample("gsm8k"));
  for (const auto& [name, count] : {std::pair{"gsm8k/test.jsonl", 1319u}, {"gsm8k/train.jsonl", 7473u}}) {
    const auto records = all_records(sample(name), parse_format("gsm8k"));
    const auto json = json_lines(sample(name));
    ASSERT_EQ(records.size(), count);
    ASSERT_EQ(records.size(), json.size());
    for (size_t i = 0; i < records.size(); ++i) {
      EXPECT_EQ(records[i].prompt, "Question: " + json[i]["question"].get<std::string>() + "\nAnswer:");
      EXPECT_EQ(records[i].answer, " " + json[i]["answer"].get<std::string>());
    }
  }
}

TEST(FormatSamples, mbpp) {
  SKIP_WITHOUT(sample("mbpp"));
  const auto records = all_records(sample("mbpp/mbpp.jsonl"), parse_format("mbpp"));
  const auto json = json_lines(sample("mbpp/mbpp.jsonl"));
  ASSERT_EQ(records.size(), 974u);
  for (size_t i = 0; i < records.size(); ++i) {
    std::string tests;
    for (const auto& line : json[i]["test_list"]) tests += line.get<std::string>() + "\n";
    EXPECT_EQ(records[i].prompt,
              "You are an expert Python programmer, and here is your task: " + json[i]["text"].get<std::string>() +
                  " Your code should pass these tests:\n\n" + tests + "[BEGIN]\n");
    EXPECT_EQ(records[i].answer, json[i]["code"].get<std::string>() + "\n[DONE]");
  }
  const auto sanitized = records_of({{{"prompt", "Add."}, {"code", "a"}, {"test_list", {"b"}}}}, "mbpp");
  EXPECT_THAT(sanitized[0].prompt, HasSubstr("your task: Add. Your code should pass these tests:\n\nb\n[BEGIN]\n"));
}

TEST(FormatSamples, prosocial_dialog) {
  SKIP_WITHOUT(sample("prosocial"));
  const auto file = sample("prosocial/prosocial_dialog_sample.jsonl");
  const auto records = all_records(file, parse_format("prosocial-dialog"));
  const auto json = json_lines(file);
  ASSERT_EQ(records.size(), 17u);
  for (size_t i = 0; i < records.size(); ++i) {
    ASSERT_EQ(records[i].messages.size(), 2u);
    EXPECT_EQ(records[i].messages[0].role, "user");
    EXPECT_EQ(records[i].messages[0].content, json[i]["context"].get<std::string>());
    EXPECT_EQ(records[i].messages[1].role, "assistant");
    EXPECT_EQ(records[i].messages[1].content, json[i]["response"].get<std::string>());
  }
}

TEST(FormatSamples, mmlu) {
  SKIP_WITHOUT(sample("mmlu"));
  for (const auto& [split, count] : {std::pair{"dev", 285u}, {"val", 1531u}, {"test", 4412u}}) {
    size_t records = 0;
    for (const auto& file : expand(sample("mmlu").string() + "/" + split)) {
      for (const Record& record : all_records(file, parse_format("mmlu"))) {
        ++records;
        EXPECT_THAT(record.prompt, testing::AllOf(testing::StartsWith("Question: "), testing::EndsWith("\nAnswer: ")));
        EXPECT_THAT(record.answer, testing::MatchesRegex("[0-3]"));
      }
    }
    EXPECT_EQ(records, count) << split;
  }
  const auto records = all_records(sample("mmlu/dev/abstract_algebra_dev.csv"), parse_format("mmlu"));
  EXPECT_EQ(
      records[0].prompt,
      "Question: Find all c in Z_3 such that Z_3[x]/(x^2 + c) is a field.\nOptions:\n0. 0\n1. 1\n2. 2\n3. 3\nAnswer: ");
  EXPECT_EQ(records[0].answer, "1");
}

TEST(FormatSamples, mmlu_with_a_list_of_choices) {
  const auto records = records_of(
      {{{"question", "Which?"}, {"subject", "s"}, {"choices", {"w", "x", "y", "z"}}, {"answer", 2}}}, "mmlu-choices");
  EXPECT_EQ(records[0].prompt, "Question: Which?\nOptions:\n0. w\n1. x\n2. y\n3. z\nAnswer: ");
  EXPECT_EQ(records[0].answer, "2");
}

TEST(FormatSamples, e2e) {
  SKIP_WITHOUT(sample("e2e"));
  const auto dev = all_records(sample("e2e/devset.csv"), parse_format("e2e"));
  ASSERT_EQ(dev.size(), 4672u);
  EXPECT_EQ(dev[0].prompt, "name[Alimentum], area[city centre], familyFriendly[no]");
  EXPECT_EQ(dev[0].answer, " There is a place in the city centre, Alimentum, that is not family-friendly.");
  EXPECT_TRUE(dev[0].end_of_prompt);
  EXPECT_EQ(all_records(sample("e2e/testset_w_refs_partA.csv"), parse_format("e2e")).size(), 2282u);
  for (const Record& record : dev) {
    EXPECT_FALSE(record.prompt.empty());
    EXPECT_FALSE(record.answer.ends_with('\r'));
  }
}

TEST(FormatSamples, e2e_lines) {
  SKIP_WITHOUT(sample("e2e"));
  const auto records = all_records(sample("e2e/lora_valid_head200.txt"), parse_format("e2e-lines"));
  ASSERT_EQ(records.size(), 200u);
  EXPECT_EQ(records[0].prompt, "name : Alimentum | area : city centre | family friendly : no");
  EXPECT_EQ(records[0].answer, " There is a place in the city centre , Alimentum , that is not family - friendly .");
}

TEST(FormatSamples, text_of_c4_without_other_fields) {
  SKIP_WITHOUT(sample("c4"));
  EXPECT_EQ(all_records(sample("c4/c4_demo_text_only.jsonl"), parse_format("c4")).size(), 300u);
}

TEST(FormatSamples, sharegpt) {
  const Json chats = {{{"conversations",
                        {{{"from", "human"}, {"value", "Hi"}},
                         {{"from", "gpt"}, {"value", "Yes?"}},
                         {{"from", "critic"}, {"value", "Hm."}}}},
                       {"system", "Be kind."}},
                      {{"id", "x_0"}, {"conversations", {{{"from", "human"}, {"value", "Hi"}}}}, {"system", ""}}};
  const auto records = records_of(chats, "sharegpt");
  ASSERT_EQ(records.size(), 2u);
  std::string told;
  for (const ChatMessage& message : records[0].messages) told += message.role + ":" + message.content + " ";
  EXPECT_EQ(told, "system:Be kind. user:Hi assistant:Yes? critic:Hm. ");
  EXPECT_EQ(records[1].messages.size(), 1u);
}

TEST(FormatSamples, lamini) {
  const auto records = records_of(
      {{{"instruction", "Name a fruit."}, {"response", "Fig."}, {"instruction_source", "alpaca"}}}, "lamini");
  EXPECT_EQ(records[0].prompt, test::alpaca_prompt("Name a fruit.", ""));
  EXPECT_EQ(records[0].answer, "Fig.");
}

TEST(FormatSamples, math_a_file_a_problem) {
  TempFolder folder;
  for (int i = 0; i < 3; ++i) {
    const Json problem = {{"problem", fmt::format("What is ${} + 1$?", i)},
                          {"level", "Level 1"},
                          {"type", "Algebra"},
                          {"solution", "$\\boxed{1}$"}};
    folder.write(fmt::format("{}.json", i), problem.dump(4));
  }
  std::vector<Record> records;
  for (const auto& file : expand(folder.path("")))
    for (Record& record : all_records(file, parse_format("math"))) records.push_back(std::move(record));
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[2].prompt, "Problem:\nWhat is $2 + 1$?\n\nSolution:");
  EXPECT_EQ(records[2].answer, " $\\boxed{1}$");
}

TEST(FormatSamples, openr1_math) {
  const Json row = {
      {"problem", "1 + 1?"},
      {"solution", "Two."},
      {"answer", "2"},
      {"generations", {"<think>\nHm.\n</think>\n2", "<think>"}},
      {"correctness_llama", nullptr},
      {"correctness_math_verify", {true, false}},
      {"messages", {{{"role", "user"}, {"content", "1 + 1?"}}, {{"role", "assistant"}, {"content", "2"}}}}};
  const auto records = records_of({row}, "openr1-math");
  EXPECT_EQ(records[0].prompt, "1 + 1?\n");
  EXPECT_EQ(records[0].answer, "<think>\nHm.\n</think>\n2");
  EXPECT_EQ(records_of({row}, "messages")[0].messages.size(), 2u);
}

TEST(FormatSamples, openr1_math_takes_the_first_generation_that_is_verified) {
  const auto answer = [](const Json& math_verify, const Json& llama, const Json& complete) {
    return records_of({{{"problem", "1 + 1?"},
                        {"generations", {"<think>a", "<think>b", "<think>c", "<think>d"}},
                        {"correctness_math_verify", math_verify},
                        {"correctness_llama", llama},
                        {"is_reasoning_complete", complete}}},
                      "openr1-math")[0]
        .answer;
  };
  EXPECT_EQ(answer({false, false, true, true}, nullptr, {true, true, true, true}), "<think>c");
  EXPECT_EQ(answer({false, false, false, false}, {false, true, false, true}, {true, true, true, true}), "<think>b");
  EXPECT_EQ(answer(nullptr, nullptr, {false, false, false, true}), "<think>d");
  EXPECT_EQ(answer({false, false}, nullptr, nullptr), "<think>a");
}

TEST(FormatSamples, prompt_completion) {
  const auto records = records_of({{{"prompt", "a"}, {"completion", "b"}}}, "prompt-completion");
  EXPECT_EQ(records[0].prompt, "a");
  EXPECT_EQ(records[0].answer, "b");
}

}  // namespace
}  // namespace lmnet
