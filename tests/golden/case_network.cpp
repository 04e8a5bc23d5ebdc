#include "tests/golden/case_network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "parallel/thread_communicator.h"

namespace lmnet::testing {
namespace {

using Json = nlohmann::json;

ReferenceClass class_of(const Json& about) {
  if (about.at("family") == "gpt2") return ReferenceClass::gpt2;
  const bool classifies = about.at("kind") == "class";
  const std::string cls = about.value("cls", classifies ? "LMNetForSequenceClassification" : "LMNetForCausalLM");
  if (cls == "LMNetForCausalLM") return ReferenceClass::causal;
  if (cls == "LMNetForCausalLMS") return ReferenceClass::causal_separate;
  if (cls == "LMNetForSequenceClassification") return ReferenceClass::classifier;
  if (cls == "LMNetForSequenceClassificationS") return ReferenceClass::classifier_separate;
  throw std::invalid_argument(fmt::format("\"{}\" is no class of the reference", cls));
}

std::string preset_of(ReferenceClass cls) {
  switch (cls) {
    case ReferenceClass::gpt2:
      return "reference-gpt2";
    case ReferenceClass::causal:
    case ReferenceClass::causal_separate:
      return "reference-causal";
    case ReferenceClass::classifier:
      return "reference-classifier";
    case ReferenceClass::classifier_separate:
      return "reference-classifier-separate";
  }
  throw std::invalid_argument("a class of the reference without a preset");
}

/// JSON, which YAML holds too.
Config config_of(const Json& about, ReferenceClass cls, at::ScalarType precision) {
  Json backbone = about.at("config");
  backbone["model_type"] = about.at("family");
  Json model = {{"preset", preset_of(cls)},
                {"backbone", backbone},
                {"topology", fmt::format("{}", fmt::join(about.at("topo").get<std::vector<int>>(), "-"))},
                {"precision", precision == at::kDouble ? "fp64" : "fp32"}};
  if (about.contains("pl")) model["input"] = {{"prefix", about.at("pl")}};
  if (cls == ReferenceClass::causal_separate) model["sharing"] = "none";
  Json train = Json::object();
  if (about.contains("adamw")) {
    train["optimizer"] = about.at("adamw");
    train["optimizer"].erase("lr");
    // The reference has no optimiser of its own for this class: the cases were made with torch's, which decays all.
    if (cls != ReferenceClass::gpt2) train["optimizer"]["decays"] = "all";
  }
  if (about.contains("label_smoothing")) train["loss"] = {{"label_smoothing", about.at("label_smoothing")}};
  const Json config = {{"run", {{"name", "golden"}}}, {"model", model}, {"train", train}};
  return parse_config(config.dump(), about.at("name"));
}

}  // namespace

CaseNetwork::CaseNetwork(const GoldenCase& golden, at::ScalarType precision)
    : golden_(golden),
      class_(class_of(golden.about)),
      config_(config_of(golden.about, class_, precision)),
      spec_(resolve_model(config_.model)),
      alone_(std::move(make_thread_communicators(1).front())),
      mesh_(std::make_unique<Mesh>(*alone_, 1)),
      engine_(std::make_unique<Engine>(spec_.shape, spec_.graph, spec_.dtype, config_.train.optimizer, *mesh_)) {
  for (const std::string& name : engine_->optimizer().names()) {
    const ReferenceTensor at = place(name);
    if (!golden_.has(at.name)) throw std::invalid_argument(fmt::format("the file lacks {} for {}", at.name, name));
    engine_->optimizer().assign(name, reference_view(at, golden_.tensor(at.name)));
  }
}

ReferenceTensor CaseNetwork::place(const std::string& ours) const {
  return reference_tensor(class_, spec_.shape, spec_.graph, ours);
}

at::Tensor CaseNetwork::logits(const Sequence& batch) {
  return engine_->logits(engine_->hidden(batch).flatten(0, 1)).view({batch.rows(), batch.length(), -1});
}

UpdateResult CaseNetwork::update(const Sequence& batch, const LossRule& rule) {
  const double lr = golden_.about.at("adamw").at("lr");
  UpdateOptions options;
  options.loss = rule;
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head, prefix}) options.lr[part] = lr;
  return engine_->update(batch, options);
}

void CaseNetwork::compare_trained(const std::string& group, Findings& findings) const {
  Collected collected(golden_, group);
  const Optimizer& optimizer = engine_->optimizer();
  for (const std::string& name : optimizer.names())
    if (const at::Tensor gradient = optimizer.gradient(name); gradient.defined())
      collected.add(name, place(name), group == "@grad/" ? gradient : optimizer.state(name).value);
  collected.compare(findings);
}

void CaseNetwork::compare_gradients(Findings& findings) const {
  compare_trained("@grad/", findings);
}

void CaseNetwork::compare_weights(Findings& findings) const {
  compare_trained("@step/", findings);
}

Sequence tokens_of(const GoldenCase& golden) {
  Sequence batch;
  batch.tokens = golden.tensor("@in/input_ids");
  batch.lengths = real_tokens(golden);
  return batch;
}

}  // namespace lmnet::testing
