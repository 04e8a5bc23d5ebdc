#include "trainer/hugging_face/export.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/generation/generator.h"
#include "trainer/hugging_face/import.h"
#include "trainer/hugging_face/network_config.h"
#include "trainer/hugging_face/reference_names.h"
#include "trainer/new_folder.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::map<std::string, at::Tensor> tensors_of(const fs::path& folder) {
  const SafetensorsFolder files(folder);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, place] : files.tensors()) tensors[name] = files.tensor(name).clone();
  return tensors;
}

/// Equal in names, dtypes, shapes and values.
bool same(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const auto& one, const auto& other) {
    return one.first == other.first && one.second.scalar_type() == other.second.scalar_type() &&
           one.second.equal(other.second);
  });
}

template <typename Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing is refused";
  return "";
}

/// The folder that a class of the official implementation would leave, with random weights.
void write_reference_folder(const fs::path& folder, ReferenceClass cls, const ModelSpec& spec) {
  fs::create_directories(folder);
  write_text(folder / "config.json", spec.shape.backbone.to_json());
  std::vector<SafetensorsEntry> entries;
  for (const ParameterShape& parameter : parameter_shapes(spec.shape, spec.graph))
    entries.push_back(
        {reference_tensor(cls, spec.shape, spec.graph, parameter.name).name, at::kFloat, parameter.shape});
  write_safetensors_folder(folder, entries,
                           [](const SafetensorsEntry& entry) { return at::randn(entry.shape, at::kFloat); });
}

constexpr const char* kGpt2Config =
    R"({"model_type":"gpt2","n_embd":8,"n_layer":2,"n_head":2,"n_positions":16,"vocab_size":300})";

/// A Hugging Face folder of a backbone with random weights.
void write_backbone(
    const fs::path& folder, const std::string& json,
    const std::function<at::ScalarType(const std::string&)>& dtype = [](const std::string&) { return at::kFloat; }) {
  fs::create_directories(folder);
  write_text(folder / "config.json", json);
  const BackboneConfig config = BackboneConfig::from_json(json, "config.json");
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, shape] : backbone_tensors(config)) weights[name] = at::randn(shape);
  write_backbone_weights(
      folder, config, [&](const std::string& name) { return weights.at(name); }, dtype);
}

ModelSpec causal_spec() {
  return resolve_model(parse_config(R"({model: {preset: reference-causal, topology: 1-2-1, precision: fp32, backbone:
      {model_type: llama, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2,
       vocab_size: 11}}})",
                                    "causal")
                           .model);
}

TEST(Export, ANetworkGoesOutUnderItsCanonicalNamesWithItsModellingCode) {
  testing::TinyNetwork tiny;
  const fs::path out = tiny.folder / "out";
  export_checkpoint(tiny.checkpoint, out);
  const CheckpointReader checkpoint(tiny.checkpoint);
  for (const auto& [name, value] : tensors_of(out)) EXPECT_TRUE(value.equal(checkpoint.read(name))) << name;
  EXPECT_TRUE(fs::exists(out / "modeling_lmnet.py"));
  EXPECT_TRUE(fs::exists(out / "configuration_lmnet.py"));
  const Json config = Json::parse(read_text(out / "config.json"));
  EXPECT_EQ(config["model_type"], "lmnet");
  EXPECT_EQ(config["vertices"].size(), 4u);
  EXPECT_EQ(config["edges"].size(), 6u);  // with those of the input and the head, which are the vector itself
  EXPECT_EQ(config["input_scales"][3], 0.5);
  EXPECT_EQ(config["num_hidden_layers"], 4 * 2 + 4);
  EXPECT_EQ(Json::parse(read_text(out / "generation_config.json"))["eos_token_id"], 256);
}

TEST(Export, WhatWentOutComesInAndGoesOutTheSame) {
  testing::TinyNetwork tiny;
  for (const char* dtype : {"", "bf16"}) {
    const std::string first = fmt::format("first{}", dtype), second = fmt::format("second{}", dtype);
    export_checkpoint(tiny.checkpoint, tiny.folder / first, dtype);
    import_folder(tiny.folder / first, tiny.folder / (first + ".checkpoint"), {});
    export_checkpoint(tiny.folder / (first + ".checkpoint"), tiny.folder / second);
    EXPECT_TRUE(same(tensors_of(tiny.folder / first), tensors_of(tiny.folder / second)));
    EXPECT_EQ(read_text(tiny.folder / first / "config.json"), read_text(tiny.folder / second / "config.json"));
  }
}

TEST(Export, WithoutADtypeEachTensorKeepsItsOwnAndFp64BecomesFp32) {
  const TemporaryFolder folder;
  write_backbone(folder / "theirs", kGpt2Config, [](const std::string& name) {
    return name.starts_with("blocks.1.") || name.ends_with("k.weight") ? at::kFloat : at::kBFloat16;
  });
  import_folder(folder / "theirs", folder / "ours", {});
  export_checkpoint(folder / "ours", folder / "again");
  EXPECT_TRUE(same(tensors_of(folder / "theirs"), tensors_of(folder / "again")));
  EXPECT_EQ(Json::parse(read_text(folder / "again/config.json"))["dtype"], "float32");
  const fs::path wide = testing::save_tiny_network(folder / "run", 7, testing::tiny_config_with("fp32", "fp64"));
  export_checkpoint(wide, folder / "wide");
  for (const auto& [name, value] : tensors_of(folder / "wide")) EXPECT_EQ(value.scalar_type(), at::kFloat) << name;
}

TEST(Export, TheTokensThatEndATextAreThoseThatTheFolderNames) {
  const TemporaryFolder folder;
  write_backbone(folder / "theirs", kGpt2Config);
  const auto round = [&](const std::string& name) {
    import_folder(folder / "theirs", folder / name, {});
    export_checkpoint(folder / name, folder / (name + ".export"));
    return Json::parse(read_text(folder / (name + ".export/generation_config.json")));
  };
  EXPECT_FALSE(round("silent").contains("eos_token_id"));  // and not the 256 of the tokenizer `bytes`
  EXPECT_TRUE(SavedNetwork(folder / "silent").ends().empty());
  EXPECT_TRUE(SavedNetwork(folder / "theirs").ends().empty());

  Json config = Json::parse(read_text(folder / "theirs/config.json"));
  config["eos_token_id"] = {7, 9};
  config["pad_token_id"] = 3;
  write_text(folder / "theirs/config.json", config.dump());
  EXPECT_EQ(round("named"), (Json{{"eos_token_id", {7, 9}}, {"pad_token_id", 3}}));
  EXPECT_EQ(Json::parse(read_text(folder / "named.export/config.json"))["eos_token_id"], (Json{7, 9}));
  EXPECT_EQ(SavedNetwork(folder / "named").ends(), (std::set<int32_t>{7, 9}));
  write_text(folder / "theirs/generation_config.json", R"({"eos_token_id": 5, "top_k": 2})");
  EXPECT_EQ(round("generation"), (Json{{"eos_token_id", 5}, {"pad_token_id", 3}, {"top_k", 2}}));
  EXPECT_EQ(SavedNetwork(folder / "theirs").ends(), std::set<int32_t>{5});
  write_text(folder / "theirs/generation_config.json", R"({"eos_token_id": "<end>"})");
  EXPECT_THAT(refusal([&] { SavedNetwork(folder / "theirs"); }), HasSubstr("eos_token_id"));
}

TEST(Export, ACompletionEndsWithAnyOfThem) {
  const TemporaryFolder folder;
  write_backbone(folder / "theirs", kGpt2Config);
  const auto complete = [&] {
    SavedNetwork network(folder / "theirs");
    return Generator(network).generate({{"", {65, 66}}}, {.max_new_tokens = 3}).front();
  };
  const Completion free = complete();
  ASSERT_EQ(free.ids.size(), 3u);
  EXPECT_FALSE(free.stopped);
  write_text(folder / "theirs/generation_config.json", Json{{"eos_token_id", {299, free.ids[0]}}}.dump());
  const Completion ended = complete();
  EXPECT_TRUE(ended.stopped);
  EXPECT_EQ(ended.ids, (std::vector<int32_t>{free.ids[0]}));
  EXPECT_EQ(ended.text, "");
}

TEST(Export, AnExportedNetworkIsToBeImportedBeforeItIsUsed) {
  testing::TinyNetwork tiny;
  const fs::path out = tiny.folder / "out";
  export_checkpoint(tiny.checkpoint, out);
  EXPECT_THAT(refusal([&] { SavedNetwork{out}; }), HasSubstr("import it first"));
  const std::vector<int64_t> cut = {1, 2};
  EXPECT_THAT(refusal([&] { require_shape(at::zeros({3}), cut, "tensor x"); }), HasSubstr("[3], but"));
  Json config = Json::parse(read_text(out / "config.json"));
  config["model"]["backbone"]["intermediate_size"] = 20;
  write_text(out / "config.json", config.dump());
  EXPECT_THAT(refusal([&] { import_folder(out, tiny.folder / "in", {}); }), AllOf(HasSubstr("mlp"), HasSubstr("20")));
}

TEST(Export, AFolderThatIsThereIsLeftAlone) {
  testing::TinyNetwork tiny;
  fs::create_directories(tiny.folder / "out");
  write_text(tiny.folder / "out/mine.txt", "mine");
  EXPECT_THAT(refusal([&] { export_checkpoint(tiny.checkpoint, tiny.folder / "out"); }), HasSubstr("there already"));
  EXPECT_EQ(read_text(tiny.folder / "out/mine.txt"), "mine");
  EXPECT_THROW(export_checkpoint(tiny.checkpoint, tiny.folder / "other", "fp8"), ConfigError);
  EXPECT_FALSE(fs::exists(tiny.folder / "other"));
}

TEST(NewFolder, TakesThePlaceOfAnEmptyFolderButNotOfOneFilledMeanwhile) {
  const TemporaryFolder folder;
  for (const char* name : {"empty", "filled"}) {
    fs::create_directories(folder / name);
    NewFolder made((folder / name).string() + "/");
    write_text(made.temporary() / "ours.txt", "ours");
    const auto publish = [&] { made.publish(made.temporary()); };
    if (name == std::string("empty")) {
      publish();
      EXPECT_EQ(read_text(folder / "empty/ours.txt"), "ours");
    } else {
      write_text(folder / "filled/mine.txt", "mine");
      EXPECT_THAT(refusal(publish), HasSubstr("filled"));
      EXPECT_EQ(read_text(folder / "filled/mine.txt"), "mine");
    }
  }
}

TEST(Import, ACheckpointOfTheOfficialImplementationGetsOurNames) {
  const TemporaryFolder folder;
  const ModelSpec spec = causal_spec();
  write_reference_folder(folder / "theirs", ReferenceClass::causal, spec);
  import_folder(folder / "theirs", folder / "ours", {"reference-causal", "1-2-1"});
  const CheckpointReader checkpoint(folder / "ours");
  const SafetensorsFolder theirs(folder / "theirs");
  EXPECT_TRUE(checkpoint.read("edges.1.1-0.fc.weight").equal(theirs.tensor("ws.4.fc.weight")));
  EXPECT_EQ(model_of_checkpoint(checkpoint).shape, spec.shape);
  EXPECT_EQ(model_of_checkpoint(checkpoint).graph.describe(), spec.graph.describe());
}

TEST(Import, WhatDoesNotFitIsRefusedByName) {
  const TemporaryFolder folder;
  write_reference_folder(folder / "theirs", ReferenceClass::causal, causal_spec());
  const auto attempt = [&](const ImportOptions& options) {
    return refusal([&] { import_folder(folder / "theirs", folder / "ours", options); });
  };
  EXPECT_THAT(attempt({"reference-causal", ""}), HasSubstr("--topology is missing"));
  EXPECT_THAT(attempt({"reference-causal", "1-1-1"}), AllOf(HasSubstr("ws.3."), HasSubstr("1-1-1")));
  EXPECT_THAT(attempt({"reference-causal", "1-3-1"}), HasSubstr("ws.5."));
  EXPECT_THAT(attempt({"reference-classifier", "1-2-1"}), AllOf(HasSubstr("score.weight"), HasSubstr("--preset")));
  EXPECT_THAT(attempt({"reference", "1-2-1"}), HasSubstr("reference-causal"));
  EXPECT_THAT(attempt({"none", "1-2-1"}), HasSubstr("--preset"));
  EXPECT_FALSE(fs::exists(folder / "ours"));
  fs::remove(folder / "theirs/model.safetensors");
  write_safetensors_folder(folder / "theirs", {}, {});
  EXPECT_THAT(attempt({"reference-causal", "1-2-1"}), HasSubstr("there is no tensor in it"));
}

}  // namespace
}  // namespace lmnet
