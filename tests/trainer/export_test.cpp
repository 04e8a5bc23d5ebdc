#include "trainer/export.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "model/errors.h"
#include "model/graph/errors.h"
#include "tests/trainer/saved_network_helpers.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/import.h"
#include "trainer/network_config.h"
#include "trainer/reference_names.h"

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

TEST(Export, AFolderThatIsThereIsLeftAlone) {
  testing::TinyNetwork tiny;
  fs::create_directories(tiny.folder / "out");
  write_text(tiny.folder / "out/mine.txt", "mine");
  EXPECT_THAT(refusal([&] { export_checkpoint(tiny.checkpoint, tiny.folder / "out"); }), HasSubstr("there already"));
  EXPECT_EQ(read_text(tiny.folder / "out/mine.txt"), "mine");
  EXPECT_THROW(export_checkpoint(tiny.checkpoint, tiny.folder / "other", "fp8"), ConfigError);
  EXPECT_FALSE(fs::exists(tiny.folder / "other"));
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
  EXPECT_THAT(attempt({"reference", "1-2-1"}), HasSubstr("reference-causal"));
  EXPECT_THAT(attempt({"none", "1-2-1"}), HasSubstr("--preset"));
  EXPECT_FALSE(fs::exists(folder / "ours"));
}

}  // namespace
}  // namespace lmnet
