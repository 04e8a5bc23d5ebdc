#include "trainer/config/presets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace lmnet::config {
namespace {

struct Preset {
  std::string_view name, defaults;
};

// The official implementation's networks and the optimiser rules of its scripts (lmnet-reference-spec: 2.1, 2.5
// and 2.6; 3.1; 4.1 and 4.2 with 4.4). The scripts of the two classifiers differ in what decays: transformers leaves
// norms out for Llama, with whose backbone the shared one was trained, and not for Qwen2, with whose the separate one
// was.
constexpr const char* kGpt2 = R"(
model:
  sharing: all
  edge: {kind: attention}
  aggregation: sum
  input: {prefix: 32, edge: [{kind: attention}, {kind: attention}, {kind: attention}]}
  residual: first
  output: first
train:
  optimizer: {betas: [0.9, 0.999], eps: 1e-6, weight_decay: 0.01, decays: all}
  clip: 0
  loss: {label_smoothing: 0.1, epsilon: 1e-4}
)";

constexpr const char* kCausal = R"(
model:
  edge: {kind: block}
  aggregation: mean
  input: {edge: {kind: block}}
  output: first
)";

constexpr const char* kClassifier = R"(
model:
  sharing: all
  edge: {kind: block}
  aggregation: mean
  input: {edge: {kind: mlp}}
  output: first
  classes: 4
train:
  optimizer: {betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-6, decays: matrices}
  clip: 1
)";

constexpr const char* kClassifierSeparate = R"(
model:
  sharing: none
  edge: {kind: block}
  aggregation: mean
  input: {edge: none}
  output: first
  classes: 4
train:
  optimizer: {betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-6, decays: weights}
  clip: 1
)";

constexpr std::array<Preset, 4> kPresets = {{{"reference-gpt2", kGpt2},
                                             {"reference-causal", kCausal},
                                             {"reference-classifier", kClassifier},
                                             {"reference-classifier-separate", kClassifierSeparate}}};

void merge(Node& tree, const Node& defaults) {
  for (const Node& entry : defaults.items) {
    Node* own = tree.find(entry.key);
    if (!own) {
      tree.items.push_back(entry);
    } else if (entry.kind == Node::Kind::map && (own->kind == Node::Kind::map || own->kind == Node::Kind::null)) {
      own->kind = Node::Kind::map;  // a section without anything in it
      merge(*own, entry);
    }
  }
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

void apply_preset(Node& tree) {
  const Node* model = tree.find("model");
  const Node* name = model ? model->find("preset") : nullptr;
  const auto preset = std::ranges::find(kPresets, name ? std::string_view(name->text) : "", &Preset::name);
  if (preset == kPresets.end()) return;
  const std::string where = name->where;
  merge(tree, read_argument_value(std::string(preset->defaults), where, ""));
}

std::string preset_reference() {
  std::string text =
      "A preset is a set of other defaults; keys that are given win. The classifiers' optimisers are those of their\n"
      "scripts: norms do not decay with a Llama backbone (reference-classifier) and do with a Qwen2 one (…-separate);\n"
      "for the other family set train.optimizer.decays. Learning rates and schedules stand in the stages.\n";
  for (const Preset& preset : kPresets) text += fmt::format("\n# model.preset: {}{}", preset.name, preset.defaults);
  return text;
}

}  // namespace lmnet::config
