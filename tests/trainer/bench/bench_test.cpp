#include "trainer/bench/bench.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "parallel/thread_communicator.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/bench/decoding.h"
#include "trainer/bench/load.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Measurement run(int ranks, const BenchOptions& options, const std::vector<std::string>& overrides = {}) {
  const Config config = parse_config(testing::tiny_config, "tiny.yaml", overrides);
  Measurement result;
  run_ranks(ranks, [&](Communicator& world) {
    Measurement mine = measure(world, config, options);
    if (world.rank() == 0) result = std::move(mine);
  });
  return result;
}

std::string error_text(const BenchOptions& options, const std::vector<std::string>& overrides = {}) {
  try {
    run(1, options, overrides);
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), 2);
    return error.what();
  }
  return "no error";
}

TEST(Bench, MeasuresTrainingAndForward) {
  for (const char* what : {"train", "forward"}) {
    const Measurement result = run(1, {.what = what, .steps = 3});
    EXPECT_EQ(result.what, what);
    EXPECT_GT(result.seconds_per_step, 0);
    EXPECT_NEAR(result.tokens_per_s, 2 * 12 / result.seconds_per_step, 1e-6);
    EXPECT_GT(result.gemm_share, 0);
    EXPECT_GT(result.peak_memory_gib, 0);
    EXPECT_EQ(result.precision, "fp32");
  }
}

TEST(Bench, CountsWhatTheFirstStageTrains) {
  const Measurement edges = run(1, {.steps = 1}), forward = run(1, {.what = "forward", .steps = 1});
  EXPECT_GT(edges.trainable, 0);
  EXPECT_LT(edges.trainable, edges.total);
  EXPECT_EQ(forward.trainable, 0);
  EXPECT_EQ(forward.total, edges.total);
  EXPECT_GT(edges.flops_per_token, 2 * forward.flops_per_token);
}

TEST(Bench, RanksMeasureTogether) {
  const Measurement result = run(2, {.steps = 2}, {"parallel.vertex=2"});
  EXPECT_EQ(result.ranks, 2);
  EXPECT_EQ(result.vertex, 2);
  EXPECT_GT(result.exchange_wait, 0);
  EXPECT_GT(run(2, {.steps = 2}).tokens_per_s, 0);
}

TEST(Bench, MeasuresGeneration) {
  const Config config = parse_config(testing::tiny_config, "tiny.yaml");
  const auto alone = make_thread_communicators(1);
  const DecodingMeasurement result = measure_decoding(*alone.front(), config, 3, 1);
  EXPECT_EQ(result.topology, "1-2-1");
  EXPECT_GT(result.tokens_per_s(), 0);
  EXPECT_GT(result.recompute_near, 0);
  EXPECT_GT(result.seconds_far, 0);
  const int64_t places = 4 * 2 + 4;  // vertices x blocks, edges
  EXPECT_DOUBLE_EQ(result.cache_mib, places * 2 * 8 * 4 * (1024 - 1 - 1 + 4) / 1048576.0);
  const Json json = Json::parse(result.json());
  for (const char* key : {"what", "topology", "precision", "tokens_per_s", "recompute_tokens_per_s", "times_faster",
                          "positions", "seconds_per_token", "growth", "cache_mib", "parameters"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_THAT(result.text(), HasSubstr("tok/s at position 64"));
  run_ranks(2, [&](Communicator& world) { EXPECT_THROW(measure_decoding(world, config, 3, 1), AgreedError); });
}

TEST(Bench, PrintsTheFieldsOfTheInterface) {
  const Json json = Json::parse(run(1, {.steps = 1}).json());
  for (const char* key :
       {"what", "topology", "precision", "ranks", "vertex", "batch", "sequence_length", "seconds_per_step",
        "tokens_per_s", "flops_per_token", "peak_share", "gemm_share", "peak_memory_gib", "baseline_memory_gib",
        "expected_memory_gib", "exchange_wait", "parameters"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["topology"], "1-2-1");
  EXPECT_EQ(json["batch"], 2);
  EXPECT_TRUE(json["parameters"].contains("trainable"));
}

TEST(Bench, MeasuresLoadingOnTheRanksThatRead) {
  const TemporaryFolder folder;
  const auto file = folder / "data.txt";
  std::ofstream(file) << "one text\n\nanother text\n\na third one";
  const std::string data = fmt::format("data.train=[{{path: {}, format: text}}]", file.string());
  const Config config = parse_config(testing::tiny_config, "tiny.yaml", std::vector{data});
  run_ranks(4, [&](Communicator& world) {
    Config two = config;
    two.parallel.vertex = 2;
    const LoadMeasurement result = measure_loading(world, two, 20, 1, 0);
    EXPECT_EQ(result.streams, 2);
    EXPECT_GT(result.tokens_per_s, 0);
    EXPECT_GT(result.text_mb_per_s, 0);
    EXPECT_GT(result.first_batch_s, 0);
    if (world.rank() % 2 == 0) {
      EXPECT_EQ(result.batches, 20);
    }
    for (const char* key : {"what", "tokens_per_s", "text_mb_per_s", "first_batch_s", "peak_memory_mib", "restore_s"})
      EXPECT_TRUE(Json::parse(result.json()).contains(key)) << key;
  });
  const auto alone = make_thread_communicators(1);
  Config wide = config;
  wide.parallel.vertex = 2;
  wide.parallel.data = 1;
  EXPECT_EQ(measure_loading(*alone.front(), wide, 2, 0, 0).vertex, 1);  // who shares a replica makes no difference
  EXPECT_THROW(measure_loading(*alone.front(), parse_config(testing::tiny_config, "tiny.yaml"), 1, 0, 0), AgreedError);
}

TEST(Bench, NamesWhatIsMissingOrNotBuilt) {
  EXPECT_THAT(error_text({.what = "exchange"}), HasSubstr("--what exchange is planned, not built yet"));
  EXPECT_THAT(error_text({.what = "trian"}), HasSubstr("--what trian is unknown"));
  EXPECT_THAT(error_text({}, {"parallel.vertex=2"}), HasSubstr("parallel.vertex 2 does not divide the 1 ranks"));
  const std::string model = testing::tiny_config.substr(0, testing::tiny_config.find("data:"));
  const auto alone = make_thread_communicators(1);
  EXPECT_THROW(measure(*alone.front(), parse_config(model, "tiny.yaml"), {}), AgreedError);
}

}  // namespace
}  // namespace lmnet
