#include "trainer/model_spec.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <numeric>

#include "model/errors.h"
#include "model/hugging_face.h"
#include "tests/trainer/config/helpers.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/tokenizer_files.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string small_qwen =
    "{model_type: qwen2, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2, "
    "num_key_value_heads: 1, vocab_size: 20, tie_word_embeddings: true}";
const std::string small_llama =
    "{model_type: llama, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
    "num_key_value_heads: 2, vocab_size: 20}";

ModelSpec resolve(const std::string& topology, const std::string& more = "") {
  return resolve_model(testing::parse("model:\n  backbone: " + small_qwen + "\n  topology: " + topology + more).model);
}

std::string refused(const std::string& topology, const std::string& more = "") {
  return testing::error_of([&] { resolve(topology, more); });
}

/// A network with the edges input → a → b → head around these vertices.
std::string path(const std::string& a, const std::string& b, const std::string& kind = "") {
  return "{vertices: {a: " + a + ", b: " + b + "}, edges: [{from: input, to: a}, {from: a, to: b" + kind +
         "}, {from: b, to: head}]}";
}

TEST(ModelSpec, takes_prefix_classes_edges_and_residual_from_the_config) {
  const ModelSpec spec = resolve("1-2-1",
                                 "\n  input: {prefix: 3, edge: {kind: mlp}}\n  residual: first\n  classes: 4\n"
                                 "  edge: [{kind: linear}, {kind: block}]");
  EXPECT_EQ(spec.shape.prefix, 3);
  EXPECT_EQ(spec.shape.classes, 4);
  EXPECT_FALSE(spec.shape.tied()) << "the classes have a head of their own";
  EXPECT_EQ(to_string(spec.graph.edges()[0].kinds), "mlp");
  EXPECT_EQ(to_string(spec.graph.edges()[1].kinds), "linear+block");
  EXPECT_EQ(spec.graph.edges_into(spec.graph.head()).size(), 2u);
  EXPECT_EQ(
      refused("1", "\n  residual: first"),
      "x.yaml:3: model.topology: a residual from the first vertex to the head needs two levels or more, topology 1 "
      "has one");
}

TEST(ModelSpec, edges_of_a_graph_name_their_kinds_as_words_mappings_or_chains) {
  const auto kinds = [](const std::string& kind) {
    return to_string(resolve(path("{}", "{}", ", kind: " + kind)).graph.edges()[1].kinds);
  };
  EXPECT_EQ(kinds("mlp"), "mlp");
  EXPECT_EQ(kinds("{kind: attention}"), "attention");
  EXPECT_EQ(kinds("[block, {kind: linear}, identity]"), "block+linear");
  EXPECT_EQ(kinds("identity"), "identity");
  EXPECT_EQ(to_string(resolve(path("{}", "{}")).graph.edges()[1].kinds), "block") << "model.edge";
}

TEST(ModelSpec, vertices_of_a_graph_may_have_backbones_of_their_own) {
  const ModelSpec own = resolve(path("{}", "{backbone: " + small_llama + "}"));
  EXPECT_EQ(own.graph.vertices()[0].group, "shared");
  EXPECT_EQ(own.graph.vertices()[1].group, "b") << "it cannot share the weights of the others";
  EXPECT_EQ(own.shape.of("shared").blocks, 2);
  EXPECT_EQ(own.shape.of("b").family, BackboneConfig::Family::llama);
  const ModelSpec group = resolve(path("{group: g}", "{group: g, backbone: " + small_llama + "}"));
  ASSERT_EQ(group.shape.groups.size(), 1u);
  EXPECT_EQ(group.shape.of("g").blocks, 1);
}

TEST(ModelSpec, graphs_that_do_not_fit_are_refused_with_the_line_and_the_way_out) {
  const std::string wide =
      "{model_type: llama, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, "
      "num_attention_heads: 2, vocab_size: 20}";
  EXPECT_EQ(refused(path("{}", "{backbone: " + wide + "}")),
            "x.yaml:3: model.topology: backbone of group b: its hidden_size is 16, that of model.backbone 8: all "
            "vertices of a network are of one width");
  EXPECT_THAT(refused(path("{group: g, backbone: /a}", "{group: g, backbone: /b}")),
              HasSubstr("vertex b names another backbone than the rest of its group g"));
  EXPECT_THAT(refused(path("{}", "{group: shared, backbone: " + small_llama + "}")),
              HasSubstr("vertex a falls into group shared by model.sharing, and other vertices name that group"));
  EXPECT_THAT(refused(path("{}", "{backbone: /no/such/folder}")),
              HasSubstr("x.yaml:3: model.topology: backbone of group b: /no/such/folder does not exist"));
  EXPECT_THAT(refused(path("{}", "{grup: g}")), HasSubstr("vertex b has the unknown key grup, did you mean group?"));
  EXPECT_THAT(refused(path("{}", "{}", ", knid: block")), HasSubstr("has the unknown key knid, did you mean kind?"));
  EXPECT_THAT(refused(path("{}", "{}", ", kind: blok")), HasSubstr("\"blok\" is no kind of edge: block, attention"));
  EXPECT_THAT(refused(path("{}", "{}", ", kind: 3")), HasSubstr("kind is a word such as block, or a list"));
  EXPECT_THAT(refused("{vertices: [a], edges: []}"), HasSubstr("vertices must be a mapping of names"));
  EXPECT_THAT(refused("{vertices: {a: {}}, edges: [{from: input}]}"), HasSubstr("lacks \"to\""));
  EXPECT_THAT(refused(path("{}", "{}"), "\n  residual: first"), HasSubstr("write the edges to head"));
}

/// Numbers for every parameter of a backbone, exact in bf16.
std::map<std::string, at::Tensor> random_weights(const BackboneConfig& backbone, uint64_t seed) {
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, shape] : backbone_tensors(backbone)) {
    const auto numel = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    weights[name] =
        (at::arange(numel) * 7 + static_cast<int64_t>(name.size() + seed)).remainder(101).div(64).view(shape);
  }
  return weights;
}

/// A Hugging Face folder of a backbone.
struct SavedBackbone {
  SavedBackbone(const std::string& yaml, uint64_t seed)
      : config(resolve_model(testing::parse("model: {backbone: " + yaml + "}").model).shape.backbone),
        weights(random_weights(config, seed)) {
    std::ofstream(folder / "config.json") << config.to_json();
    write_backbone_weights(
        folder.path(), config, [&](const std::string& name) { return weights.at(name); },
        [](const std::string&) { return at::kFloat; });
  }

  TemporaryFolder folder;
  BackboneConfig config;
  std::map<std::string, at::Tensor> weights;
};

/// An engine on one rank with the drawn and loaded parameters of a config.
struct LoadedNetwork {
  explicit LoadedNetwork(const std::string& yaml, const Trains& trains = {.edges = true})
      : config(testing::parse(yaml)), spec(resolve_model(config.model)) {
    engine.emplace(spec.shape, spec.graph, spec.dtype, OptimizerConfig{}, mesh);
    engine->begin_stage(trains);
    engine->initialize(1);
    drawn = values();
    load_backbones(engine->optimizer(), spec);
  }

  std::map<std::string, at::Tensor> values() {
    std::map<std::string, at::Tensor> all;
    for (const std::string& name : engine->optimizer().names())
      all[name] = engine->optimizer().state(name).value.clone();
    return all;
  }

  Config config;
  ModelSpec spec;
  std::unique_ptr<Communicator> alone = std::move(make_thread_communicators(1).front());
  Mesh mesh{*alone, 1};
  std::optional<Engine> engine;
  std::map<std::string, at::Tensor> drawn;
};

TEST(ModelSpec, a_graph_that_a_preset_does_not_fit_is_told_the_preset) {
  EXPECT_THAT(testing::error_of([] {
                resolve_model(testing::parse("model: {preset: reference-gpt2, backbone: {model_type: gpt2}, topology: "
                                             "{vertices: {a: {}}, edges: [{from: input, to: a}, {from: a, to: head}]}}")
                                  .model);
              }),
              HasSubstr("model.preset reference-gpt2"));
}

TEST(Checkpoint, with_a_config_that_does_not_read_is_damaged) {
  LoadedNetwork network("model: {precision: fp32, topology: 1-1, backbone: " + small_qwen + "}");
  TemporaryFolder run;
  const fs::path checkpoint = save_checkpoint(run.path(), *network.engine, {}, {}, "modle: 1\n", "edges");
  EXPECT_THROW(config_of_checkpoint(CheckpointReader(checkpoint)), CheckpointError);
  EXPECT_THROW(SavedNetwork(fs::path(checkpoint)), CheckpointError);
}

TEST(LoadBackbones, fill_vertices_and_text_ends_from_a_hugging_face_folder_and_leave_what_is_drawn) {
  const SavedBackbone saved(small_qwen, 1);
  const std::string yaml = "model: {backbone: " + saved.folder.path().string() +
                           ", topology: 1-2-1, sharing: level, precision: PRECISION, input: {prefix: 2}}";
  for (const char* precision : {"bf16", "fp32"})
    for (const Trains& trains : {Trains{.edges = true}, Trains{.edges = true, .vertices = true, .embeddings = true}}) {
      std::string text = yaml;
      text.replace(text.find("PRECISION"), 9, precision);
      LoadedNetwork network(text, trains);
      for (const auto& [name, value] : network.values()) {
        const bool is_drawn = name.starts_with("edges.") || name == "embeddings.prefix";
        const at::Tensor expected =
            is_drawn ? network.drawn.at(name) : saved.weights.at(std::string(without_group(name)));
        EXPECT_TRUE(at::equal(value.to(at::kFloat), expected.to(at::kFloat))) << name << " " << precision;
      }
    }
}

TEST(LoadBackbones, take_each_group_from_its_own_backbone) {
  const SavedBackbone first(small_qwen, 1), other(small_llama, 2);
  LoadedNetwork network("model: {precision: fp32, backbone: " + first.folder.path().string() +
                        ", topology: " + path("{}", "{backbone: " + other.folder.path().string() + "}") + "}");
  int of_other = 0;
  for (const auto& [name, value] : network.values()) {
    if (name.starts_with("edges.")) continue;
    const bool is_other = name.starts_with("vertices.b.");
    EXPECT_TRUE(at::equal(value, (is_other ? other : first).weights.at(std::string(without_group(name))))) << name;
    of_other += is_other;
  }
  EXPECT_EQ(of_other, 9 + 1) << "a block of llama, and the norm";
}

TEST(LoadBackbones, draw_the_head_of_a_classifier) {
  const SavedBackbone saved(small_llama, 1);
  LoadedNetwork network(
      "model: {precision: fp32, classes: 4, topology: 1-1, backbone: " + saved.folder.path().string() + "}");
  const auto values = network.values();
  EXPECT_TRUE(at::equal(values.at("head.weight"), network.drawn.at("head.weight")));
  EXPECT_EQ(values.at("head.weight").size(0), 4);
  EXPECT_TRUE(at::equal(values.at("embeddings.tokens.weight"), saved.weights.at("embeddings.tokens.weight")));
}

TEST(LoadBackbones, name_what_is_missing_in_the_folder) {
  const SavedBackbone saved(small_qwen, 1);
  fs::remove(saved.folder / "model.safetensors");
  EXPECT_THROW(LoadedNetwork("model: {topology: 1-1, backbone: " + saved.folder.path().string() + "}"), WeightsError);
}

TEST(Checkpoint, of_a_network_with_several_backbones_stands_alone) {
  TemporaryFolder run;
  fs::path checkpoint;
  std::map<std::string, at::Tensor> values;
  NetworkShape shape;
  {
    const SavedBackbone first(small_qwen, 1), other(small_llama, 2);
    const std::string yaml = "model: {precision: fp32, input: {prefix: 2}, backbone: " + first.folder.path().string() +
                             ", topology: " + path("{group: x}", "{backbone: " + other.folder.path().string() + "}") +
                             "}";
    LoadedNetwork network(yaml);
    RunState state;
    checkpoint = save_checkpoint(run.path(), *network.engine, state, {}, to_yaml(network.config), "edges");
    values = network.values();
    shape = network.spec.shape;
  }
  SavedNetwork saved{CheckpointReader(checkpoint)};
  EXPECT_EQ(saved.engine().network().shape(), shape);
  for (const auto& [name, value] : values)
    EXPECT_TRUE(at::equal(saved.engine().optimizer().state(name).value, value)) << name;
}

TEST(SavedNetwork, is_a_hugging_face_folder_too) {
  const SavedBackbone saved(small_qwen, 1);
  SavedNetwork network(saved.folder.path());
  EXPECT_EQ(network.engine().network().graph().topology(), "1");
  EXPECT_EQ(network.tokenizer().name(), "bytes");
  for (const std::string& name : network.engine().optimizer().names())
    EXPECT_TRUE(at::equal(network.engine().optimizer().state(name).value.to(at::kFloat),
                          saved.weights.at(std::string(without_group(name)))))
        << name;
  EXPECT_THROW(SavedNetwork(fs::path(saved.folder / "nothing")), CheckpointError);
}

TEST(Backbone, is_no_checkpoint_with_an_edge_a_prefix_or_classes) {
  for (const char* more : {"input: {prefix: 2}", "input: {edge: {kind: mlp}}", "classes: 3"}) {
    SCOPED_TRACE(more);
    TemporaryFolder run;
    testing::save_tiny_network(run / "checkpoints", 7,
                               testing::tiny_config_with("topology: 1-2-1", std::string("topology: 1\n  ") + more));
    EXPECT_THAT(testing::error_of([&] { open_backbone(run.path(), "x.yaml:1"); }),
                HasSubstr("a backbone has topology 1, no edge, prefix or classes"));
  }
}

TEST(TokenizerName, is_the_one_of_the_backbones_folder_and_a_checkpoint_keeps_a_copy) {
  const char* samples = std::getenv("LMNET_TEST_DATA");
  const fs::path tokenizer =
      (samples ? fs::path(samples) : testing::configs_folder().parent_path().parent_path() / "shared/data") /
      "tokenizers/gpt2";
  if (!fs::exists(tokenizer)) GTEST_SKIP() << "no tokenizer in " << tokenizer;
  const SavedBackbone saved(small_qwen, 1);
  const ModelSpec spec = resolve_model(testing::parse("model: {backbone: " + saved.folder.path().string() + "}").model);
  EXPECT_EQ(tokenizer_name(DataConfig{}, spec), "bytes");
  DataConfig named;
  named.tokenizer = "./t";
  EXPECT_EQ(tokenizer_name(named, spec), "./t");
  for (const auto& [name, text] : read_tokenizer_files(*make_tokenizer(tokenizer.string())))
    std::ofstream(saved.folder / name) << text;
  EXPECT_EQ(tokenizer_name(DataConfig{}, spec), saved.folder.path().string());
  EXPECT_TRUE(read_tokenizer_files(*make_tokenizer("bytes")).empty());

  LoadedNetwork network("model: {precision: fp32, topology: 1-1, backbone: " + saved.folder.path().string() + "}");
  TemporaryFolder run;
  TextFiles files = read_tokenizer_files(*make_tokenizer(tokenizer.string()));
  const fs::path checkpoint =
      save_checkpoint(run.path(), *network.engine, {}, {}, to_yaml(network.config), "edges", files);
  EXPECT_EQ(tokenizer_name(checkpoint, network.config.data), checkpoint.string());
  EXPECT_NO_THROW(open_checkpoint(checkpoint, /*verify=*/true));
  EXPECT_EQ(make_tokenizer(checkpoint.string())->hash(), make_tokenizer(tokenizer.string())->hash());

  EXPECT_NO_THROW(require_tokenizer_of(checkpoint, files, "x.yaml"));
  EXPECT_THROW(require_tokenizer_of(checkpoint, {}, "x.yaml"), ConfigError);
  files.begin()->second += "\n";
  EXPECT_THROW(require_tokenizer_of(checkpoint, files, "x.yaml"), ConfigError);
}

}  // namespace
}  // namespace lmnet
