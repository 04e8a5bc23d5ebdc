#include "trainer/saving/partial_load.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "model/graph/errors.h"
#include "tests/trainer/saving/helpers.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A network as `tiny_config` with other `model` keys, with weights of its own, and what it loads.
struct Target {
  explicit Target(const std::string& model_keys) {
    const Config config = parse_config(tiny_config_with("topology: 1-2-1", model_keys) + "\n", "target.yaml");
    model = config.model;
    spec = resolve_model(config.model);
    mesh.emplace(*alone.front(), 1);
    engine.emplace(spec.shape, spec.graph, spec.dtype, OptimizerConfig{}, *mesh);
    engine->begin_stage({.edges = true, .vertices = true});
    engine->initialize(99);
  }
  std::vector<std::string> load(const std::string& tokenizer_hash = "") {
    return load_parts(model, spec, tokenizer_hash, engine->optimizer());
  }
  at::Tensor value(const std::string& name) { return engine->optimizer().value(name).clone(); }

  std::vector<std::unique_ptr<Communicator>> alone = make_thread_communicators(1);
  std::optional<Mesh> mesh;
  std::optional<Engine> engine;
  ModelConfig model;
  ModelSpec spec;
};

/// The message of the ConfigError that loading throws.
std::string refusal(Target& target, const std::string& tokenizer_hash = "") {
  try {
    target.load(tokenizer_hash);
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no ConfigError";
  return "";
}

class PartialLoad : public ::testing::Test {
 protected:
  std::string load(const std::string& parts) const {
    std::string text = parts;
    for (size_t at = 0; (at = text.find("SAVED")) != std::string::npos;)
      text.replace(at, 5, (folder_ / "run").string());
    return "load: {" + text + "}";
  }
  TemporaryFolder folder_;
  fs::path checkpoint_ = save_tiny_network(folder_ / "run" / "checkpoints");
  CheckpointReader saved_{checkpoint_};
};

TEST_F(PartialLoad, puts_trained_edges_on_a_fresh_backbone) {
  Target target("topology: 1-2-1\n  " + load("edges: SAVED"));
  const at::Tensor vertices = target.value("vertices.shared.norm.weight"),
                   tokens = target.value("embeddings.tokens.weight");
  EXPECT_THAT(target.load(), ElementsAre(AllOf(HasSubstr("edges begin as those of"), HasSubstr(checkpoint_.string()))));
  EXPECT_TRUE(at::equal(target.value("edges.0.0-1.fc.weight"), saved_.read("edges.0.0-1.fc.weight")));
  EXPECT_TRUE(at::equal(target.value("vertices.shared.norm.weight"), vertices));
  EXPECT_TRUE(at::equal(target.value("embeddings.tokens.weight"), tokens));
}

TEST_F(PartialLoad, sets_master_weights_too) {
  Target target("topology: 1-2-1\n  " + load("all: SAVED"));
  target.load();
  EXPECT_TRUE(
      at::equal(target.engine->optimizer().state("edges.0.0-1.fc.weight").value, saved_.read("edges.0.0-1.fc.weight")));
}

TEST_F(PartialLoad, takes_old_vertices_under_a_new_topology) {
  Target target("topology: 1-4-4-1\n  " + load("vertices: SAVED, embeddings: SAVED"));
  const at::Tensor edge = target.value("edges.0.0-1.fc.weight");
  EXPECT_THAT(target.load(), ElementsAre(HasSubstr("embeddings, vertices begin as those of")));
  EXPECT_TRUE(at::equal(target.value("vertices.shared.norm.weight"), saved_.read("vertices.shared.norm.weight")));
  EXPECT_TRUE(at::equal(target.value("embeddings.tokens.weight"), saved_.read("embeddings.tokens.weight")));
  EXPECT_TRUE(at::equal(target.value("edges.0.0-1.fc.weight"), edge));
}

TEST_F(PartialLoad, gives_shared_weights_to_vertices_with_weights_of_their_own) {
  Target target("topology: 1-4-1\n  sharing: none\n  " + load("vertices: SAVED"));
  EXPECT_THAT(target.load(), ElementsAre(HasSubstr("vertices.1-3 from vertices.shared")));
  for (const Vertex& vertex : target.spec.graph.vertices())
    EXPECT_TRUE(at::equal(target.value("vertices." + vertex.group + ".norm.weight"),
                          saved_.read("vertices.shared.norm.weight")))
        << vertex.group;
}

TEST_F(PartialLoad, takes_vertices_with_weights_of_their_own_by_their_names_and_shares_none_of_them) {
  const fs::path separate = save_tiny_network(folder_ / "separate" / "checkpoints", 7,
                                              tiny_config_with("topology: 1-2-1", "topology: 1-2-1\n  sharing: none"));
  const CheckpointReader saved(separate);
  Target same("topology: 1-2-1\n  sharing: none\n  load: {vertices: " + separate.string() + "}");
  same.load();
  EXPECT_TRUE(at::equal(same.value("vertices.1-1.blocks.0.attention.q.weight"),
                        saved.read("vertices.1-1.blocks.0.attention.q.weight")));
  Target shared("topology: 1-2-1\n  load: {vertices: " + separate.string() + "}");
  EXPECT_THAT(refusal(shared), HasSubstr("vertices.shared."));
}

TEST_F(PartialLoad, refuses_what_is_missing_unless_the_topology_may_differ) {
  Target target("topology: 1-3-1\n  " + load("edges: SAVED"));
  EXPECT_THAT(refusal(target),
              AllOf(HasSubstr("target.yaml:"), HasSubstr("topology 1-2-1"), HasSubstr("topology 1-3-1"),
                    HasSubstr("edges.0.0-2."), HasSubstr("more"), HasSubstr("model.load.allow")));
  Target allowed("topology: 1-3-1\n  " + load("edges: SAVED, allow: [topology]"));
  const at::Tensor drawn = allowed.value("edges.0.0-2.fc.weight");
  EXPECT_THAT(allowed.load(), ElementsAre(HasSubstr("not there: edges.0.0-2.")));
  EXPECT_TRUE(at::equal(allowed.value("edges.0.0-1.fc.weight"), saved_.read("edges.0.0-1.fc.weight")));
  EXPECT_TRUE(at::equal(allowed.value("edges.0.0-2.fc.weight"), drawn));
}

TEST_F(PartialLoad, refuses_another_shape_by_tensor) {
  Config config = parse_config(tiny_config_with("hidden_size: 16", "hidden_size: 8"), "narrow.yaml");
  config.model.load.edges = (folder_ / "run").string();
  const ModelSpec spec = resolve_model(config.model);
  const auto alone = make_thread_communicators(1);
  Mesh mesh(*alone.front(), 1);
  Engine engine(spec.shape, spec.graph, spec.dtype, OptimizerConfig{}, mesh);
  EXPECT_THAT(lmnet::error_of([&] { load_parts(config.model, spec, "", engine.optimizer()); }),
              AllOf(HasSubstr(checkpoint_.string()), HasSubstr("edges."), HasSubstr("in this network")));
}

TEST_F(PartialLoad, refuses_another_tokenizer_unless_that_is_allowed) {
  const auto alone = make_thread_communicators(1);
  Mesh mesh(*alone.front(), 1);
  const Config config = parse_config(tiny_config, "tiny.yaml");
  const ModelSpec spec = resolve_model(config.model);
  Engine engine(spec.shape, spec.graph, spec.dtype, {}, mesh);
  engine.initialize(1);
  Checkpointer checkpointer(engine, {}, folder_ / "hashed", {.config_yaml = tiny_config, .tokenizer_hash = "bytes"},
                            [](const std::string&) {});
  checkpointer.save_last({}, {}, "edges");
  const std::string path = (folder_ / "hashed" / "step-000000000").string();
  Target same("topology: 1-2-1\n  load: {all: " + path + "}");
  EXPECT_NO_THROW(same.load("bytes"));
  Target other("topology: 1-2-1\n  load: {all: " + path + "}");
  EXPECT_THAT(refusal(other, "gpt2"), AllOf(HasSubstr("tokenizer"), HasSubstr("model.load.allow"), HasSubstr(path)));
  Target allowed("topology: 1-2-1\n  load: {all: " + path + ", allow: [tokenizer]}");
  EXPECT_NO_THROW(allowed.load("gpt2"));
}

}  // namespace
}  // namespace lmnet::testing
