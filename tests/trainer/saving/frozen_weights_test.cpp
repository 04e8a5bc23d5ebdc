#include "trainer/saving/frozen_weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

#include "model/hugging_face.h"
#include "parallel/thread_communicator.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/model_spec.h"
#include "trainer/saving/checkpointer.h"
#include "trainer/saving/load_checkpoint.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

/// A backbone in a Hugging Face folder, and runs that build a network `1-2-1` on it.
class FrozenWeightsTest : public ::testing::Test {
 protected:
  FrozenWeightsTest() { write_backbone(1); }

  /// Random weights that depend on the seed.
  void write_backbone(uint64_t seed) {
    const std::string json = R"({"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 24,
      "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 258,
      "tie_word_embeddings": true})";
    fs::remove_all(backbone());
    fs::create_directories(backbone());
    std::ofstream(backbone() / "config.json") << json;
    const BackboneConfig config = BackboneConfig::from_json(json, "test");
    auto generator = at::detail::createCPUGenerator(seed);
    std::map<std::string, at::Tensor> values;
    for (const auto& [name, shape] : backbone_tensors(config)) values[name] = at::randn(shape, generator);
    write_backbone_weights(
        backbone(), config, [&](const std::string& name) { return values.at(name); },
        [](const std::string&) { return at::kFloat; });
  }
  fs::path backbone() const { return folder_ / "backbone"; }
  fs::path dir() const { return folder_ / "checkpoints"; }
  fs::path step(int64_t update) const { return dir() / folder_name(update); }

  Config config() const {
    return parse_config("model: {topology: 1-2-1, precision: bf16, backbone: " + backbone_ + "}", "test.yaml");
  }

  /// One rank of a run that goes on at its newest checkpoint, if it has one.
  struct Rank {
    Engine& engine;
    Checkpointer& checkpointer;
    RunState state = {};
    void save(int64_t update) {
      state.run.updates = update;
      checkpointer.save_last(state, {}, "edges");
    }
  };
  void run(const std::function<void(Rank&)>& body, const Trains& first = {.edges = true}) {
    run_ranks(2, [&](Communicator& world) {
      Mesh mesh(world, 2);
      const Config run = config();
      const ModelSpec spec = resolve_model(run.model);
      Engine engine(spec.shape, spec.graph, spec.dtype, OptimizerConfig{}, mesh);
      Checkpointer checkpointer(engine, checkpoint_, dir(), {to_yaml(run)}, [](const std::string&) {});
      const bool copy = checkpoint_.frozen == "copy";
      engine.begin_stage(first);
      const auto checkpoints = list_checkpoints(dir());
      if (checkpoints.empty()) {
        engine.initialize(1);
        load_backbones(engine.optimizer(), spec);
        checkpointer.refer_to(frozen_weights(spec, run.model.load, engine.optimizer(), copy));
      } else {
        const CheckpointReader reader(checkpoints.front());
        load_checkpoint(reader, engine.optimizer(), /*moments=*/true);
        checkpointer.refer_to(frozen_weights(reader, /*own=*/true, copy));
      }
      Rank rank{engine, checkpointer};
      body(rank);
    });
  }

  std::vector<std::string> names(const fs::path& path) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename().string());
    return names;
  }
  std::string reference_of(int64_t update, const std::string& tensor) const {
    return read_manifest(step(update) / "manifest.json").tensors.at(tensor).reference;
  }

  TemporaryFolder folder_;
  CheckpointConfig checkpoint_;
  std::string backbone_ = backbone().string();
};

constexpr const char* kNorm = "vertices.shared.norm.weight";
constexpr const char* kTokens = "embeddings.tokens.weight";

TEST_F(FrozenWeightsTest, are_not_written_again_but_referred_to) {
  run([](Rank& rank) { rank.save(1); });
  EXPECT_THAT(names(step(1)), AllOf(Not(Contains(StartsWith("vertices"))), Not(Contains(StartsWith("embeddings"))),
                                    Contains(StartsWith("edges"))));
  EXPECT_THAT(names(dir()), Not(Contains(StartsWith("frozen"))));
  const CheckpointReader checkpoint(step(1));
  const BackboneWeights weights(backbone(), resolve_model(config().model).shape.backbone);
  EXPECT_TRUE(at::equal(checkpoint.read(kNorm), weights.read(kNorm).to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(checkpoint.read(kTokens), weights.read(kTokens).to(at::kBFloat16)));
  const ManifestReference& reference = checkpoint.manifest().references.at("backbone");
  EXPECT_EQ(reference.path, fs::canonical(backbone()).string());
  EXPECT_EQ(reference.hash.size(), 16U);
  EXPECT_NO_THROW(checkpoint.verify_references());
}

TEST_F(FrozenWeightsTest, stay_referred_to_when_the_run_goes_on) {
  run([](Rank& rank) { rank.save(1); });
  run([](Rank& rank) { rank.save(2); });
  EXPECT_EQ(reference_of(2, kNorm), "backbone");
  EXPECT_EQ(CheckpointReader(step(2)).manifest().references.at("backbone").hash,
            CheckpointReader(step(1)).manifest().references.at("backbone").hash);
}

TEST_F(FrozenWeightsTest, are_written_once_they_have_trained_also_when_they_freeze_again) {
  run([](Rank& rank) {
    rank.save(1);
    rank.engine.begin_stage({.edges = true, .vertices = true});
    rank.engine.begin_stage({.edges = true});
    rank.save(2);
  });
  EXPECT_EQ(reference_of(2, kNorm), "");
  EXPECT_EQ(reference_of(2, kTokens), "backbone");
  run([](Rank& rank) { rank.save(3); });
  EXPECT_EQ(reference_of(3, kNorm), "");
  EXPECT_EQ(reference_of(3, kTokens), "backbone");
}

TEST_F(FrozenWeightsTest, of_a_folder_that_changed_or_went_are_refused_by_name) {
  run([](Rank& rank) { rank.save(1); });
  write_backbone(2);
  EXPECT_THAT(lmnet::error_of([&] { CheckpointReader(step(1)).read(kNorm); }),
              AllOf(HasSubstr("step-000000001"), HasSubstr(backbone_), HasSubstr(kNorm)));
  fs::rename(backbone(), folder_ / "elsewhere");
  EXPECT_THAT(lmnet::error_of([&] { open_checkpoint(step(1)); }), AllOf(HasSubstr(backbone_), HasSubstr("not there")));
  write_backbone(1);
  EXPECT_NO_THROW(CheckpointReader(step(1)).verify_references());
}

TEST_F(FrozenWeightsTest, are_copied_once_a_run_where_that_is_asked_for) {
  checkpoint_.frozen = "copy";
  run([](Rank& rank) {
    rank.save(1);
    rank.save(2);
  });
  fs::remove_all(backbone() / "model.safetensors");
  run([](Rank& rank) { rank.save(3); });
  EXPECT_THAT(names(dir()), Contains("frozen-000000001"));
  EXPECT_THAT(names(dir()), Not(Contains("frozen-000000003")));
  for (const int64_t update : {1, 2, 3}) {
    EXPECT_EQ(reference_of(update, kNorm), "frozen");
    EXPECT_THAT(names(step(update)), Not(Contains(StartsWith("vertices"))));
    EXPECT_NO_THROW(CheckpointReader(step(update)).verify_references());
  }
  damage(dir() / "frozen-000000001" / names(dir() / "frozen-000000001").front(), 100);
  EXPECT_THAT(lmnet::error_of([&] {
                open_checkpoint(step(3), /*verify=*/true);
                CheckpointReader(step(3)).verify_references();
              }),
              HasSubstr("frozen-000000001"));
}

TEST_F(FrozenWeightsTest, out_of_a_checkpoint_are_copied_since_its_run_may_remove_it) {
  const fs::path run_of_backbone = folder_ / "base";
  backbone_ = run_of_backbone.string();
  {
    const auto alone = make_thread_communicators(1);
    Mesh mesh(*alone.front(), 1);
    const Config plain = parse_config("model: {topology: '1', backbone: " + backbone().string() + "}", "test.yaml");
    const ModelSpec spec = resolve_model(plain.model);
    Engine engine(spec.shape, spec.graph, at::kBFloat16, OptimizerConfig{}, mesh);
    engine.initialize(1);
    save_checkpoint(run_of_backbone / "checkpoints", engine, {}, {}, to_yaml(plain), "all");
  }
  run([](Rank& rank) { rank.save(1); });
  fs::remove_all(run_of_backbone);
  EXPECT_NO_THROW(CheckpointReader(step(1)).verify_references());
  EXPECT_THAT(names(dir()), Contains("frozen-000000001"));
}

TEST_F(FrozenWeightsTest, drawn_at_random_are_written) {
  backbone_ = (backbone() / "config.json").string();
  run([](Rank& rank) { rank.save(1); });
  EXPECT_THAT(names(step(1)), Contains(StartsWith("vertices")));
  EXPECT_THAT(read_manifest(step(1) / "manifest.json").references, IsEmpty());
}

TEST_F(FrozenWeightsTest, go_with_the_last_checkpoint_that_needs_the_copy) {
  checkpoint_.frozen = "copy";
  checkpoint_.keep = 1;
  checkpoint_.keep_best = 0;
  run([](Rank& rank) {
    rank.save(1);
    rank.engine.begin_stage({.edges = true, .vertices = true, .embeddings = true});
    rank.save(2);
  });
  EXPECT_THAT(names(dir()), Not(Contains(StartsWith("frozen"))));
}

TEST_F(FrozenWeightsTest, another_run_that_begins_from_a_checkpoint_makes_a_copy_of_its_own) {
  checkpoint_.frozen = "copy";
  run([](Rank& rank) { rank.save(1); });
  const FrozenWeights frozen = frozen_weights(CheckpointReader(step(1)), /*own=*/false, /*copy=*/false);
  EXPECT_EQ(frozen.reference_of.at(kNorm), "frozen");
  EXPECT_FALSE(frozen.references.contains("frozen"));
}

}  // namespace
}  // namespace lmnet::testing
