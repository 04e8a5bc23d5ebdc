#include "trainer/run/check.h"

#include <gmock/gmock.h>

#include "tests/trainer/config/helpers.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kRun = R"(model:
  backbone: {model_type: qwen2, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2,
             num_key_value_heads: 1, vocab_size: 258, tie_word_embeddings: true}
  topology: 1-2-1
data: {sequence_length: 16, train: [{path: a.jsonl, format: c4}]}
train: {global_batch: 8, micro_batch: 2, stages: [{trains: [edges], until: 10u, lr: 1e-3}]}
)";

std::string refusal(const std::vector<std::string>& overrides, int ranks = 1) {
  return testing::error_of([&] { describe_run(testing::parse(kRun, overrides), ranks); });
}

TEST(RunCheck, layouts_that_do_not_fit_name_the_ranks_that_do) {
  EXPECT_THAT(refusal({"parallel.vertex=2"}), AllOf(HasSubstr("parallel.vertex 2 does not divide the 1 ranks"),
                                                    HasSubstr("mpirun -np 2"), HasSubstr("--ranks 2")));
  EXPECT_THAT(refusal({"parallel.vertex=2"}, 3), HasSubstr("--ranks 4"));
  EXPECT_THAT(refusal({"parallel.vertex=2", "parallel.data=4"}, 2), HasSubstr("mpirun -np 8"));
  EXPECT_THAT(refusal({}, 3), HasSubstr("train.global_batch 8 is no multiple"));
  EXPECT_EQ(refusal({}, 2), "no ConfigError");
}

TEST(RunCheck, a_dry_run_refuses_what_the_run_would) {
  EXPECT_THAT(refusal({"model.classes=3"}), HasSubstr("model.classes is 3"));
  EXPECT_THAT(refusal({"model.backbone.vocab_size=100"}), HasSubstr("bytes has 258 ids"));
  EXPECT_THAT(refusal({"train.stages[0].trains=[prefix]"}), HasSubstr("there is no prefix"));
}

TEST(RunCheck, sources_that_all_have_a_limit_must_last_for_the_run) {
  EXPECT_EQ(refusal({"data.train[0].tokens=1280t"}), "no ConfigError");
  EXPECT_THAT(refusal({"data.train[0].tokens=1279t"}),
              AllOf(HasSubstr("data.train allows 1279 t"), HasSubstr("train.stages take 1280 t")));
}

TEST(RunCheck, a_prefix_goes_with_documents_in_rows_of_their_own_only) {
  EXPECT_THAT(
      refusal({"data.documents=true", "model.input.prefix=2"}),
      AllOf(HasSubstr("model.input.prefix stands before the first document"), HasSubstr("data.packing: false")));
  EXPECT_EQ(refusal({"data.documents=true", "model.input.prefix=2", "data.packing=false"}), "no ConfigError");
}

TEST(RunCheck, a_prefix_takes_its_share_of_learned_positions) {
  const std::string gpt2 =
      "model.backbone={model_type: gpt2, n_embd: 8, n_layer: 1, n_head: 2, vocab_size: 258, "
      "n_positions: 18}";
  EXPECT_EQ(refusal({gpt2, "model.input.prefix=2"}), "no ConfigError");
  EXPECT_THAT(refusal({gpt2, "model.input.prefix=3"}), HasSubstr("leave room for 15"));
}

TEST(RunCheck, a_dry_run_tells_what_every_rank_needs_and_how_fast_it_would_be) {
  const auto text = [](const std::vector<std::string>& overrides, int ranks, const MachineOptions& machine = {}) {
    return describe_run(testing::parse(kRun, overrides), ranks, machine);
  };
  EXPECT_THAT(text({"parallel.vertex=2"}, 4, {.device = "h100", .link_bandwidth = 25}),
              AllOf(HasSubstr("topology 1-2-1"), HasSubstr("4 ranks = 2 data × 2 vertex · 2 rows a replica"),
                    HasSubstr("in 1 piece, 2 forwards a step"), HasSubstr("memory of rank 0, the fullest:"),
                    HasSubstr("speed-up over one rank: ideal 4 (2 of 2 in a replica) · expected"),
                    HasSubstr("on h100 (25 GB/s to other hosts, 450 GB/s inside, 8 ranks a host)")));
  EXPECT_THAT(text({}, 1), AllOf(HasSubstr("ideal 1 · expected 1\n"), HasSubstr("on cpu (")));
  EXPECT_THAT(text({"parallel.device=cuda"}, 1), HasSubstr("on h200 ("));
}

}  // namespace
}  // namespace lmnet
