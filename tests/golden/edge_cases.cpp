#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <stdexcept>

#include "model/edge.h"
#include "tests/golden/case.h"

/// One edge module alone: its output and all its gradients.
namespace lmnet::testing {
namespace {

EdgeKind kind_of(const std::string& cls) {
  if (cls == "WBlock") return EdgeKind::attention;
  if (cls == "WBlock1" || cls == "WBlock2") return EdgeKind::block;
  if (cls == "WBlock_mlp") return EdgeKind::mlp;
  throw std::invalid_argument("\"" + cls + "\" is no edge class of the reference");
}

BackboneConfig backbone_of(const GoldenCase& golden) {
  nlohmann::json config = golden.about.at("config");
  config["model_type"] = golden.about.at("family");
  return BackboneConfig::from_json(config.dump(), golden.about.at("name"));
}

/// The place of a parameter of one edge, within its module alone.
ReferenceTensor edge_tensor(const BackboneConfig& backbone, EdgeKind kind, const std::string& in_edge) {
  const Graph graph = Graph::layered("1-1", {.edge = {kind}});
  const ReferenceClass cls = backbone.gpt2() ? ReferenceClass::gpt2 : ReferenceClass::causal;
  ReferenceTensor tensor = reference_tensor(cls, NetworkShape(backbone), graph, "edges.0.0-0." + in_edge);
  tensor.name = tensor.name.substr(std::string_view("ws.0.").size());
  return tensor;
}

/// Positions 0…T-1; only the real tokens of a row are seen.
Steps steps_of(const GoldenCase& golden, const BackboneConfig& backbone, int64_t length, at::ScalarType precision) {
  Steps steps;
  if (!backbone.gpt2()) steps.rotary = Rotary::tables(backbone, at::arange(length), precision);
  steps.lengths = real_tokens(golden);
  return steps;
}

void run(const GoldenCase& golden, at::ScalarType precision, Findings& findings) {
  const BackboneConfig backbone = backbone_of(golden);
  const EdgeKind kind = kind_of(golden.about.at("cls"));
  EdgeStack edge(backbone, {kind}, 1, precision);
  std::vector<Parameter> parameters;
  edge.list({.prefixes = {""}}, parameters);
  for (Parameter& parameter : parameters) {
    for (const View& view : parameter.views) {
      const ReferenceTensor at = edge_tensor(backbone, kind, view.name);
      slice(parameter.value, view).copy_(reference_view(at, golden.tensor(at.name)));
    }
    parameter.value.requires_grad_();
  }
  const at::Tensor x = golden.tensor("@in/x").to(precision).unsqueeze(0).requires_grad_();
  const Steps steps = steps_of(golden, backbone, x.size(2), precision);
  const at::Tensor y = edge.forward(x, steps);
  torch::autograd::backward({y}, {golden.tensor("@in/grad_y").to(precision).unsqueeze(0)});

  findings.output("y", y[0], precision);
  findings.output("grad_x", x.grad()[0], precision);
  if (golden.has("@out/rope_cos")) {
    findings.output("rope_cos", steps.rotary.cos.unsqueeze(0), precision);
    findings.output("rope_sin", steps.rotary.sin.unsqueeze(0), precision);
  }
  Collected gradients(golden, "@grad/");
  for (const Parameter& parameter : parameters)
    for (const View& view : parameter.views)
      gradients.add(view.name, edge_tensor(backbone, kind, view.name), slice(parameter.value.grad(), view));
  gradients.compare(findings);
}

}  // namespace

void run_edge(const GoldenCase& golden, Findings& findings) {
  for (at::ScalarType precision : golden.precisions()) run(golden, precision, findings);
}

}  // namespace lmnet::testing
