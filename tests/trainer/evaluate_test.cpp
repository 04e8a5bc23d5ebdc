#include "trainer/evaluate.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "data/format_file.h"
#include "data/loader.h"
#include "tests/samples.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/batch.h"
#include "trainer/generation/generate.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::json;
using testing::TinyNetwork;

/// Three records, and a tiny network that answers the second one with "7".
struct Trial : TinyNetwork {
  std::string data = (folder / "items.json").string();

  Trial() {
    Optimizer& optimizer = network.engine().optimizer();
    const auto first =
        Generator(network).generate({{test::alpaca_prompt("two", "more"), {}}}, {.max_new_tokens = 1}).front();
    at::Tensor embedding = optimizer.state("embeddings.tokens.weight").value.clone();
    embedding['7'] = embedding[first.ids[0]] * 3;
    optimizer.assign("embeddings.tokens.weight", embedding);
    Json records = Json::array();
    records.push_back({{"instruction", "one"}, {"input", ""}, {"output", "no byte"}});
    records.push_back({{"instruction", "two"}, {"input", "more"}, {"output", " 7\n"}});
    records.push_back({{"instruction", "three"}, {"input", ""}, {"output", "drei"}});
    std::ofstream(data) << records.dump();
  }
};

std::string printed(int ranks, const std::filesystem::path& checkpoint, const EvaluationOptions& options) {
  ::testing::internal::CaptureStdout();
  run_ranks(ranks, [&](Communicator& world) { evaluate(world, checkpoint, options); });
  return ::testing::internal::GetCapturedStdout();
}

TEST(Evaluate, LossIsTheEnginesOverTheAnswerAndTheEndOfText) {
  Trial trial;
  const auto items = evaluate_items(trial.network, {.data = trial.data, .max_new_tokens = 6}, 0, 1);
  ASSERT_EQ(items.size(), 3U);
  std::vector<int32_t> ids;
  trial.network.tokenizer().encode(test::alpaca_prompt("three", "") + "drei", ids);
  ids.push_back(256);
  const auto count = static_cast<int64_t>(ids.size()) - 1;
  const at::Tensor row = at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
  at::Tensor learn = at::zeros({1, count}, at::kBool);
  learn.narrow(1, count - 5, 5).fill_(true);
  const LossSum sum =
      trial.network.engine().loss({row.narrow(1, 0, count).contiguous(), row.narrow(1, 1, count).contiguous(), learn});
  EXPECT_EQ(items[2].tokens, 5);
  EXPECT_DOUBLE_EQ(items[2].loss, sum.loss / 5);
  EXPECT_EQ(items[2].answer, "drei");
  EXPECT_EQ(items[2].prompt, test::alpaca_prompt("three", ""));
}

TEST(Evaluate, GeneratedAnswersAreGreedyAndMatchUpToWhiteSpace) {
  Trial trial;
  const auto items = evaluate_items(trial.network, {.data = trial.data, .max_new_tokens = 1}, 0, 1);
  EXPECT_EQ(items[1].generated, "7");
  EXPECT_EQ(items[1].answer, " 7\n");
  EXPECT_TRUE(items[1].match);
  EXPECT_FALSE(items[0].match);
  EXPECT_TRUE(items[0].generates);
}

TEST(Evaluate, AClassifierIsRefused) {
  TemporaryFolder folder;
  const Config config = parse_config(testing::tiny_config, "tiny.yaml", std::vector<std::string>{"model.classes=3"});
  const ModelSpec spec = resolve_model(config.model);
  const auto alone = make_thread_communicators(1);
  Mesh mesh(*alone.front(), 1);
  Engine engine(spec.shape, spec.graph, spec.dtype, {}, mesh);
  engine.initialize(1);
  const auto checkpoint = save_checkpoint(folder.path(), engine, {}, {}, to_yaml(config), "edges");
  try {
    evaluate(*alone.front(), checkpoint, {.data = "none.jsonl"});
    FAIL();
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), 2);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("no language head"));
  }
}

TEST(Evaluate, TextHasLossOnlyByTheRunsSequences) {
  Trial trial;
  const std::string file = trial.folder / "text.jsonl";
  std::ofstream(file) << "{\"text\": \"some text to read\"}\n{\"text\": \"and more of it, much more\"}\n";
  const auto items = evaluate_items(trial.network, {.data = file, .format = "c4"}, 0, 1);
  double loss = 0;
  int64_t tokens = 0;
  for (const Item& item : items) {
    loss += item.loss * static_cast<double>(item.tokens);
    tokens += item.tokens;
    EXPECT_FALSE(item.generates);
  }
  EXPECT_EQ(tokens, 17 + 1 + 25 + 1);
  LossSum expected;
  for (const TokenBatch& batch : validation_batches({{file, parse_format("c4")}}, trial.network.tokenizer(), {13}, 2)) {
    const LossSum part = trial.network.engine().loss(to_sequence(batch));
    expected.loss += part.loss;
    expected.targets += part.targets;
  }
  EXPECT_EQ(tokens, expected.targets);
  EXPECT_NEAR(loss, expected.loss, 1e-4);
}

TEST(Evaluate, AllNumbersOfRanksGiveTheSameSummaryAndItems) {
  Trial trial;
  EvaluationOptions options{
      .data = trial.data, .max_new_tokens = 6, .items = trial.folder / "items.jsonl", .json = true};
  std::vector<std::string> summaries, files;
  for (const int ranks : {1, 2, 5}) {
    summaries.push_back(printed(ranks, trial.folder.path(), options));
    std::ifstream in(options.items);
    files.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    EXPECT_EQ(summaries.back(), summaries.front());
    EXPECT_EQ(files.back(), files.front());
  }
  const Json summary = Json::parse(summaries.front());
  EXPECT_EQ(summary["items"], 3);
  EXPECT_NEAR(summary["perplexity"].get<double>(), std::exp(summary["loss"].get<double>()), 1e-9);
  EXPECT_TRUE(summary["exact_match"].is_number());
  std::istringstream lines(files.front());
  int number = 0;
  for (std::string line; std::getline(lines, line); ++number) {
    const Json item = Json::parse(line);
    EXPECT_EQ(item["item"], number);
    for (const char* key : {"prompt", "answer", "generated", "match", "loss"}) EXPECT_TRUE(item.contains(key)) << key;
  }
  EXPECT_EQ(number, 3);
}

TEST(Evaluate, WithoutAnswersThereIsNoMatch) {
  Trial trial;
  EvaluationOptions options{.data = trial.data, .max_new_tokens = 0, .json = true};
  EXPECT_TRUE(Json::parse(printed(1, trial.checkpoint, options))["exact_match"].is_null());
  options.json = false;
  const std::string line = printed(1, trial.checkpoint, options);
  EXPECT_THAT(line, ::testing::MatchesRegex("3 items · loss [0-9.]+ · perplexity [0-9.]+\n"));
}

TEST(Evaluate, TakesTheFirstItemsOnlyWhereAsked) {
  Trial trial;
  const EvaluationOptions options{.data = trial.data, .limit = 2, .max_new_tokens = 0};
  EXPECT_THAT(printed(1, trial.checkpoint, options), ::testing::StartsWith("2 items"));
  EXPECT_THAT(printed(2, trial.checkpoint, options), ::testing::StartsWith("2 items"));
  EXPECT_EQ(evaluate_items(trial.network, options, 1, 2).front().answer, " 7\n");
}

TEST(Evaluate, ARecordOfAnotherFormatNamesTheWayOut) {
  Trial trial;
  const std::string file = trial.folder / "text.jsonl";
  std::ofstream(file) << "{\"text\": \"some text to read\"}\n";
  try {
    evaluate_items(trial.network, {.data = file}, 0, 1);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("record 0 (line 1)"));
    EXPECT_THAT(error.what(), ::testing::EndsWith("(format alpaca; --format names another)"));
  }
}

TEST(Evaluate, BadDataEndsWithThree) {
  Trial trial;
  run_ranks(2, [&](Communicator& world) {
    try {
      evaluate(world, trial.checkpoint, {.data = "/nowhere/items.json"});
      ADD_FAILURE() << "no error";
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), 3);
      EXPECT_THAT(error.what(), ::testing::HasSubstr("/nowhere/items.json"));
    }
  });
}

}  // namespace
}  // namespace lmnet
