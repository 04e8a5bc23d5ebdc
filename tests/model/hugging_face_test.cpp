#include "model/hugging_face.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/model/weights_helpers.h"

namespace lmnet {
namespace {

using test::TempFolder;
using test::weights_error;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Family = BackboneConfig::Family;
using Tensors = std::map<std::string, at::Tensor>;

BackboneConfig tiny(Family family, bool tied) {
  BackboneConfig config;
  config.family = family;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.blocks = 2;
  config.heads = 4;
  config.kv_heads = family == Family::gpt2 ? 4 : 2;
  config.head_width = family == Family::llama ? 6 : 2;
  config.vocabulary = 11;
  config.positions = 5;
  config.qkv_bias = family != Family::llama;
  config.tied = tied;
  return config;
}

/// Our parameters by canonical name.
Tensors random_weights(const BackboneConfig& config, at::ScalarType dtype = at::kFloat) {
  Tensors weights;
  for (const auto& [name, shape] : backbone_tensors(config)) weights[name] = at::randn(shape).to(dtype);
  return weights;
}

void write(const TempFolder& folder, const BackboneConfig& config, const Tensors& weights,
           at::ScalarType dtype = at::kFloat, uint64_t shard_bytes = 5'000'000'000) {
  write_backbone_weights(
      folder.path(), config, [&](const std::string& name) { return weights.at(name); },
      [&](const std::string&) { return dtype; }, shard_bytes);
}

/// Writes tensors of Hugging Face's names as they are.
void write_stored(const TempFolder& folder, const Tensors& stored) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : stored) entries.push_back({name, value.scalar_type(), value.sizes().vec()});
  write_safetensors(folder / "model.safetensors", entries, [&](const auto& entry) { return stored.at(entry.name); });
}

/// The tensors of random weights as Hugging Face stores them.
Tensors stored_weights(const BackboneConfig& config, const Tensors& weights) {
  TempFolder folder;
  write(folder, config, weights);
  const SafetensorsFolder files(folder.path());
  Tensors stored;
  for (const auto& [name, place] : files.tensors()) stored[name] = files.tensor(name).clone();
  return stored;
}

void expect_equal(const BackboneWeights& read, const Tensors& weights) {
  for (const auto& [name, value] : weights) EXPECT_TRUE(at::equal(read.read(name), value)) << name;
}

std::string refused(const BackboneConfig& config, const Tensors& stored) {
  TempFolder folder;
  write_stored(folder, stored);
  const std::string error = weights_error([&] { BackboneWeights(folder.path(), config); });
  EXPECT_THAT(error, HasSubstr(folder.path().string()));
  return error;
}

constexpr Family kFamilies[] = {Family::gpt2, Family::llama, Family::qwen2};

TEST(HuggingFace, what_is_exported_is_imported_byte_for_byte) {
  for (Family family : kFamilies)
    for (bool tied : {true, false})
      for (auto dtype : {at::kFloat, at::kBFloat16})
        for (uint64_t shard_bytes : {uint64_t{1} << 40, uint64_t{600}}) {
          SCOPED_TRACE(fmt::format("{} tied {} {} {}", to_string(family), tied, at::toString(dtype), shard_bytes));
          const BackboneConfig config = tiny(family, tied);
          const Tensors weights = random_weights(config, dtype);
          TempFolder first, second;
          write(first, config, weights, dtype, shard_bytes);
          const BackboneWeights read(first.path(), config);
          expect_equal(read, weights);
          write_backbone_weights(
              second.path(), config, [&](const std::string& name) { return read.read(name); },
              [&](const std::string&) { return dtype; }, shard_bytes);
          for (const auto& file : std::filesystem::directory_iterator(first.path()))
            EXPECT_EQ(test::read_bytes(file.path()), test::read_bytes(second / file.path().filename().string()));
        }
}

TEST(HuggingFace, names_are_those_of_the_classes) {
  auto names = [](Family family, bool tied) {
    std::set<std::string> found;
    for (const auto& [name, value] : stored_weights(tiny(family, tied), random_weights(tiny(family, tied))))
      if (name.find(".1.") == std::string::npos) found.insert(name);  // blocks are alike
    return found;
  };
  EXPECT_EQ(names(Family::gpt2, true),
            (std::set<std::string>{
                "transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight",
                "transformer.h.0.ln_1.bias", "transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.bias",
                "transformer.h.0.attn.c_proj.weight", "transformer.h.0.attn.c_proj.bias", "transformer.h.0.ln_2.weight",
                "transformer.h.0.ln_2.bias", "transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias",
                "transformer.h.0.mlp.c_proj.weight", "transformer.h.0.mlp.c_proj.bias", "transformer.ln_f.weight",
                "transformer.ln_f.bias"}));
  std::set<std::string> llama = {"model.embed_tokens.weight",
                                 "model.layers.0.input_layernorm.weight",
                                 "model.layers.0.self_attn.q_proj.weight",
                                 "model.layers.0.self_attn.k_proj.weight",
                                 "model.layers.0.self_attn.v_proj.weight",
                                 "model.layers.0.self_attn.o_proj.weight",
                                 "model.layers.0.post_attention_layernorm.weight",
                                 "model.layers.0.mlp.gate_proj.weight",
                                 "model.layers.0.mlp.up_proj.weight",
                                 "model.layers.0.mlp.down_proj.weight",
                                 "model.norm.weight",
                                 "lm_head.weight"};
  EXPECT_EQ(names(Family::llama, false), llama);
  for (const char* module : {"q", "k", "v"}) llama.insert(fmt::format("model.layers.0.self_attn.{}_proj.bias", module));
  EXPECT_EQ(names(Family::qwen2, false), llama);
}

TEST(HuggingFace, gpt2_keeps_q_k_and_v_side_by_side_and_linears_transposed) {
  const BackboneConfig config = tiny(Family::gpt2, true);
  const Tensors ours = random_weights(config), theirs = stored_weights(config, ours);
  const at::Tensor x = at::randn({3, 8});
  const at::Tensor conv = at::matmul(x, theirs.at("transformer.h.1.attn.c_attn.weight")) +  // Conv1D: x·W + b
                          theirs.at("transformer.h.1.attn.c_attn.bias");
  const auto parts = conv.split(8, 1);
  for (const auto& [part, name] : {std::pair{0, "q"}, std::pair{1, "k"}, std::pair{2, "v"}}) {
    const std::string linear = fmt::format("blocks.1.attention.{}", name);
    const at::Tensor expected = at::linear(x, ours.at(linear + ".weight"), ours.at(linear + ".bias"));
    EXPECT_TRUE(at::allclose(parts[part], expected, 1e-4, 1e-5)) << name;
  }
  EXPECT_TRUE(at::equal(theirs.at("transformer.h.0.mlp.c_fc.weight").t(), ours.at("blocks.0.mlp.up.weight")));
  EXPECT_TRUE(at::equal(theirs.at("transformer.wpe.weight"), ours.at("embeddings.positions.weight")));
}

TEST(HuggingFace, the_vertex_group_of_a_name_is_of_no_weight) {
  const BackboneConfig config = tiny(Family::qwen2, false);
  const Tensors weights = random_weights(config);
  TempFolder folder;
  write(folder, config, weights);
  const BackboneWeights read(folder.path(), config);
  EXPECT_TRUE(at::equal(read.read("vertices.level2.blocks.1.mlp.gate.weight"), weights.at("blocks.1.mlp.gate.weight")));
  EXPECT_TRUE(at::equal(read.read("vertices.all.norm.weight"), weights.at("norm.weight")));
  for (const char* name : {"edges.0-1.0-0.fc.weight", "embeddings.prefix", "blocks.2.mlp.up.weight", "x", ""})
    EXPECT_THAT(weights_error([&] { read.read(name); }), HasSubstr("this backbone has no "));
}

TEST(HuggingFace, files_of_the_base_model_and_old_ones_with_buffers_are_read) {
  for (Family family : kFamilies) {
    const BackboneConfig config = tiny(family, true);
    const Tensors weights = random_weights(config);
    Tensors bare;
    for (const auto& [name, value] : stored_weights(config, weights)) bare[name.substr(name.find('.') + 1)] = value;
    if (family == Family::gpt2) {
      bare["h.0.attn.bias"] = at::ones({1, 1, 5, 5}).tril().to(at::kByte);
      bare["h.0.attn.masked_bias"] = at::scalar_tensor(-1e4);
    } else {
      bare["layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({3});
    }
    TempFolder folder;
    write_stored(folder, bare);
    expect_equal(BackboneWeights(folder.path(), config), weights);
    expect_equal(BackboneWeights(folder / "model.safetensors", config), weights);
  }
}

TEST(HuggingFace, a_tied_head_may_be_there_but_not_differ) {
  const BackboneConfig config = tiny(Family::qwen2, true), untied = tiny(Family::qwen2, false);
  const Tensors weights = random_weights(config);
  Tensors stored = stored_weights(config, weights);
  EXPECT_THAT(refused(untied, stored), HasSubstr("tensor \"lm_head.weight\" is missing"));
  stored["lm_head.weight"] = stored.at("model.embed_tokens.weight").clone();
  TempFolder folder;
  write_stored(folder, stored);
  expect_equal(BackboneWeights(folder.path(), config), weights);
  stored["lm_head.weight"][3][3] += 1;
  EXPECT_THAT(refused(config, stored),
              AllOf(HasSubstr("\"lm_head.weight\" differs"), HasSubstr("tie_word_embeddings")));
  stored["lm_head.weight"] = at::zeros({2});
  EXPECT_THAT(refused(config, stored), HasSubstr("\"lm_head.weight\" differs"));
}

TEST(HuggingFace, tensors_that_do_not_fit_the_config_are_refused_by_name) {
  for (Family family : kFamilies) {
    const BackboneConfig config = tiny(family, false);
    const Tensors stored = stored_weights(config, random_weights(config));
    for (const auto& [name, value] : stored) {
      SCOPED_TRACE(name);
      Tensors changed = stored;
      changed.erase(name);
      EXPECT_THAT(refused(config, changed), HasSubstr(fmt::format("\"{}\" is missing", name)));
      changed[name] = at::cat({value, value});
      EXPECT_THAT(refused(config, changed), HasSubstr(fmt::format("\"{}\" has shape [", name)));
      changed[name] = value.to(at::kLong);
      EXPECT_THAT(refused(config, changed), HasSubstr(fmt::format("\"{}\" is I64", name)));
    }
    Tensors more = stored;
    more["model.layers.0.extra"] = at::ones({1});
    EXPECT_THAT(refused(config, more), HasSubstr("\"model.layers.0.extra\" is of no use to this "));
    BackboneConfig shallow = config;
    shallow.blocks = 1;
    EXPECT_THAT(refused(shallow, stored), AllOf(HasSubstr(".1."), HasSubstr(" others are of no use")));
  }
  const BackboneConfig config = tiny(Family::gpt2, true);
  Tensors twice = stored_weights(config, random_weights(config));
  twice["wte.weight"] = twice.at("transformer.wte.weight");
  EXPECT_THAT(refused(config, twice), HasSubstr("with and without its prefix"));
}

TEST(HuggingFace, half_precision_is_read_as_it_is) {
  const BackboneConfig config = tiny(Family::llama, true);
  const Tensors weights = random_weights(config, at::kHalf);
  TempFolder folder;
  write(folder, config, weights, at::kHalf);
  expect_equal(BackboneWeights(folder.path(), config), weights);
}

/// Bytes of this process that no file stands behind.
int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    int64_t kilobytes = 0;
    if (key == "RssAnon:" && status >> kilobytes) return kilobytes * 1024;
  }
  return -1;
}

/// A folder of zeros that takes no room on the disk.
uint64_t write_hollow(const TempFolder& folder, const BackboneConfig& config) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [canonical, shape] : backbone_tensors(config)) {
    const HuggingFaceTensor place = hugging_face_tensor(config, canonical);
    std::vector<int64_t> stored = shape;
    if (place.end > 0) stored[0] *= 3;
    if (place.transposed) std::swap(stored[0], stored[1]);
    shapes[place.name] = stored;
  }
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, shape] : shapes) entries.push_back({name, at::kBFloat16, shape});
  const std::string header = write_safetensors_header(entries);
  const auto file = folder.write("model.safetensors", test::safetensors_bytes(header, 0));
  std::filesystem::resize_file(file, 8 + header.size() + entries.back().end);
  return entries.back().end;
}

TEST(HuggingFace, loading_needs_no_second_copy_of_the_weights) {
  if (anonymous_bytes() < 0) GTEST_SKIP() << "no RssAnon in /proc/self/status";
  for (Family family : {Family::gpt2, Family::qwen2}) {
    BackboneConfig config = tiny(family, true);
    config.hidden_size = 768;
    config.intermediate_size = 3072;
    config.blocks = 15;
    config.heads = config.kv_heads = 12;
    config.head_width = 64;
    config.vocabulary = 4000;
    TempFolder folder;
    ASSERT_GT(write_hollow(folder, config), 200'000'000);
    at::Tensor parameter = at::zeros({4000, 768});  // the largest; all are copied there
    const int64_t before = anonymous_bytes();
    int64_t most = 0;
    const BackboneWeights weights(folder.path(), config);
    for (const auto& [canonical, shape] : backbone_tensors(config)) {
      const at::Tensor view = weights.read(canonical);
      parameter.flatten().narrow(0, 0, view.numel()).view(shape).copy_(view);
      most = std::max(most, anonymous_bytes() - before);
    }
    EXPECT_LT(most, 20'000'000) << to_string(family);
  }
}

}  // namespace
}  // namespace lmnet
