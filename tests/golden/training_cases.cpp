#include <ATen/ATen.h>

#include "tests/golden/case_network.h"

/// Logits, losses, gradients and updates of whole networks.
namespace lmnet::testing {
namespace {

at::Tensor number(double value) {
  return at::scalar_tensor(value, at::kDouble);
}

Trains everything(const NetworkShape& shape) {
  return {.edges = true, .vertices = true, .embeddings = true, .head = !shape.tied(), .prefix = shape.prefix > 0};
}

/// The labels of a language model, shifted by one; -100 does not count.
Sequence causal_batch(const GoldenCase& golden) {
  Sequence batch = tokens_of(golden);
  const at::Tensor labels = golden.tensor("@in/labels");
  const at::Tensor next = at::constant_pad_nd(labels.slice(1, 1), {0, 1}, -100);
  batch.learn = next != -100;
  batch.targets = next.clamp_min(0);
  return batch;
}

/// The position before the first padding of each row, the last one where there is none: [B].
at::Tensor pooled_positions(const GoldenCase& golden) {
  const at::Tensor tokens = golden.tensor("@in/input_ids");
  const at::Tensor padded = tokens == golden.about.at("pad_token_id").get<int64_t>();
  return at::remainder(padded.to(at::kLong).argmax(1) - 1, tokens.size(1));
}

/// The loss before each of as many updates as the file has losses.
at::Tensor losses(const GoldenCase& golden, at::ScalarType precision, bool all, int64_t updates) {
  CaseNetwork network(golden, precision);
  network.engine().begin_stage(all ? everything(network.shape()) : Trains{.edges = true});
  const Sequence batch = causal_batch(golden);
  std::vector<double> losses;
  for (int64_t i = 0; i < updates; ++i) losses.push_back(network.update(batch, {}).loss);
  return at::tensor(losses, at::kDouble);
}

void run_gpt2(const GoldenCase& golden, at::ScalarType precision, Findings& findings) {
  CaseNetwork network(golden, precision);
  Trains trains{.edges = true};
  if (golden.about.at("train") == "all") trains.vertices = trains.embeddings = true;
  network.engine().begin_stage(trains);
  Sequence batch = tokens_of(golden);
  batch.targets = golden.tensor("@in/lm_labels");
  batch.learn = golden.tensor("@in/lm_mask") > 0.5;
  findings.output("logits", network.logits(batch), precision);
  const LossConfig& loss = network.train().loss;
  const LossRule plain{0, loss.epsilon}, smooth{loss.label_smoothing, loss.epsilon};
  findings.output("loss_plain", number(network.engine().gradients(batch, 0, false, plain).loss), precision);
  findings.output("loss_smooth", number(network.engine().gradients(batch, 0, false, smooth).loss), precision);
  network.compare_gradients(findings);
  if (!golden.about.value("step", true)) return;
  network.update(batch, smooth);
  network.compare_weights(findings);
}

}  // namespace

void run_gpt2(const GoldenCase& golden, Findings& findings) {
  for (at::ScalarType precision : golden.precisions()) run_gpt2(golden, precision, findings);
}

void run_causal(const GoldenCase& golden, Findings& findings) {
  for (at::ScalarType precision : golden.precisions()) {
    CaseNetwork network(golden, precision);
    network.engine().begin_stage(everything(network.shape()));
    const Sequence batch = causal_batch(golden);
    findings.output("logits", network.logits(batch), precision);
    findings.output("loss", number(network.engine().gradients(batch, 0).loss), precision);
    network.compare_gradients(findings);
    for (const auto& [name, all] : {std::pair{"losses_edges", false}, {"losses_all", true}})
      if (golden.has(std::string("@out/") + name))
        findings.output(name, losses(golden, precision, all, golden.tensor(std::string("@out/") + name).size(0)),
                        precision);
  }
}

void run_class(const GoldenCase& golden, Findings& findings) {
  for (at::ScalarType precision : golden.precisions()) {
    CaseNetwork network(golden, precision);
    network.engine().begin_stage(everything(network.shape()));
    Sequence batch = tokens_of(golden);
    const at::Tensor position = pooled_positions(golden).unsqueeze(1);
    batch.targets = at::zeros_like(batch.tokens).scatter_(1, position, golden.tensor("@in/labels").unsqueeze(1));
    batch.learn = at::zeros_like(batch.tokens, at::kBool).scatter_(1, position, true);
    const at::Tensor logits = network.logits(batch);
    const at::Tensor pooled = logits.take_along_dim(position.unsqueeze(2), 1).squeeze(1);
    findings.output("logits", pooled, precision);
    findings.output("loss", number(network.engine().gradients(batch, 0).loss), precision);
    network.compare_gradients(findings);
  }
}

}  // namespace lmnet::testing
