#include "trainer/optimizer.h"

#include <ATen/ATen.h>

#include <tuple>
#include <utility>

namespace lmnet {
namespace {

bool decays(const Parameter& parameter, Decays rule) {
  return rule == Decays::all || (rule == Decays::weights ? !parameter.bias() : parameter.matrix());
}

}  // namespace

Optimizer::Optimizer(Network& network, const OptimizerConfig& config) : network_(network), config_(config) {
  const std::vector<Parameter>& storage = network_.parameter_storage();
  for (size_t s = 0; s < storage.size(); ++s)
    for (const View& view : storage[s].views) places_[view.name] = {s, view};
  state_.resize(storage.size());
}

void Optimizer::begin_stage(const Trains& stage) {
  std::vector<Parameter>& storage = network_.parameter_storage();
  std::map<std::tuple<Holders, Parameter::Part, bool>, Flat> flats;
  std::vector<State> before = std::exchange(state_, std::vector<State>(storage.size()));
  for (size_t s = 0; s < storage.size(); ++s) {
    Parameter& parameter = storage[s];
    bool trains_now = trains(stage, parameter.part);
    parameter.value.requires_grad_(trains_now);
    parameter.gradient.reset();
    if (trains_now) {
      const bool decays_too = decays(parameter, config_.decays);
      Flat& flat = flats[{parameter.holders, parameter.part, decays_too}];
      flat.part = parameter.part;
      flat.holders = parameter.holders;
      flat.decays = decays_too;
      flat.storages.push_back(s);
    } else if (before[s].value.defined()) {
      parameter.value.set_data(parameter.value.detach().clone());  // lets the flat buffer go
    }
  }
  flats_.clear();
  for (auto& [key, flat] : flats) {
    build(flat, before);
    flats_.push_back(std::move(flat));
  }
  // Counted on every rank, also for parts that it does not hold: rank 0 writes them down for all.
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head, prefix}) {
    if (trains(stage, part))
      steps_.try_emplace(part, 0);
    else
      steps_.erase(part);
  }
}

void Optimizer::build(Flat& flat, const std::vector<State>& before) {
  std::vector<Parameter>& storage = network_.parameter_storage();
  int64_t count = 0;
  for (size_t s : flat.storages) count += storage[s].value.numel();
  at::TensorOptions options(network_.accumulation_dtype());
  flat.master = at::empty({count}, options);
  flat.gradient = at::zeros({count}, options);
  flat.exp_avg = at::zeros({count}, options);
  flat.exp_avg_sq = at::zeros({count}, options);
  int64_t offset = 0;
  for (size_t s : flat.storages) {
    Parameter& parameter = storage[s];
    auto view = [&](const at::Tensor& whole) {
      return whole.narrow(0, offset, parameter.value.numel()).view(parameter.value.sizes());
    };
    state_[s] = {view(flat.master), view(flat.exp_avg), view(flat.exp_avg_sq)};
    parameter.gradient = view(flat.gradient);
    const State& old = before[s];
    state_[s].value.copy_(old.value.defined() ? old.value : parameter.value.detach());
    if (old.exp_avg.defined()) {
      state_[s].exp_avg.copy_(old.exp_avg);
      state_[s].exp_avg_sq.copy_(old.exp_avg_sq);
    }
    if (network_.dtype() != at::kBFloat16) parameter.value.set_data(state_[s].value);
    offset += parameter.value.numel();
  }
}

std::vector<Bucket> Optimizer::buckets() const {
  std::vector<Bucket> buckets;
  for (const Flat& flat : flats_) buckets.push_back({flat.gradient, flat.holders});
  return buckets;
}

void Optimizer::zero_gradients() {
  for (Flat& flat : flats_) flat.gradient.zero_();
}

double Optimizer::squared_norm(int rank) const {
  double sum = 0;
  for (const Flat& flat : flats_) {
    if (flat.holders.front() != rank) continue;
    double norm = at::linalg_vector_norm(flat.gradient, 2, std::nullopt, false, at::kDouble).item<double>();
    sum += norm * norm;
  }
  return sum;
}

void Optimizer::update(const std::map<Parameter::Part, double>& lr, double gradient_scale) {
  at::NoGradGuard no_grad;
  for (const auto& [part, rate] : lr) ++steps_[part];
  for (Flat& flat : flats_) {
    if (gradient_scale != 1) flat.gradient.mul_(gradient_scale);
    // The kernel reads the step count from a tensor and does not advance it.
    at::Tensor step = at::full({}, static_cast<double>(steps_.at(flat.part)), at::kFloat);
    at::_fused_adamw_({flat.master}, {flat.gradient}, {flat.exp_avg}, {flat.exp_avg_sq}, {}, {step}, lr.at(flat.part),
                      config_.beta1, config_.beta2, flat.decays ? config_.weight_decay : 0.0, config_.eps,
                      /*amsgrad=*/false, /*maximize=*/false);
    if (network_.dtype() != at::kBFloat16) continue;
    for (size_t s : flat.storages) network_.parameter_storage()[s].value.copy_(state_[s].value);
  }
}

std::vector<std::string> Optimizer::names() const {
  std::vector<std::string> names;
  for (const Parameter& parameter : network_.parameter_storage())
    for (const View& view : parameter.views) names.push_back(view.name);
  return names;
}

const Parameter& Optimizer::parameter(const std::string& name) const {
  return network_.parameter_storage()[places_.at(name).storage];
}

Optimizer::State Optimizer::state(const std::string& name) const {
  const Place& place = places_.at(name);
  const State& state = state_[place.storage];
  if (!state.value.defined())
    return {slice(network_.parameter_storage()[place.storage].value.detach(), place.view), {}, {}};
  return {slice(state.value, place.view), slice(state.exp_avg, place.view), slice(state.exp_avg_sq, place.view)};
}

at::Tensor Optimizer::gradient(const std::string& name) const {
  const Place& place = places_.at(name);
  const at::Tensor& whole = network_.parameter_storage()[place.storage].gradient;
  return whole.defined() ? slice(whole, place.view) : at::Tensor();
}

void Optimizer::assign(const std::string& name, const at::Tensor& value) {
  at::NoGradGuard no_grad;
  const Place& place = places_.at(name);
  const State& state = state_[place.storage];
  if (state.value.defined()) slice(state.value, place.view).copy_(value);
  slice(network_.parameter_storage()[place.storage].value.detach(), place.view).copy_(value);
}

}  // namespace lmnet
