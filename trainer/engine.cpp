#include "trainer/engine.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "model/graph/errors.h"
#include "model/kernels/kernels.h"
#include "trainer/clock.h"
#include "trainer/distributed_exchange.h"

namespace lmnet {
namespace {

/// Adds up the time that a rank spends in exchanges.
class TimedExchange final : public Exchange {
 public:
  TimedExchange(Exchange& exchange, double& seconds) : exchange_(exchange), seconds_(seconds) {}
  std::vector<Message> forward(int level, std::vector<Message> messages) override {
    auto start = Clock::now();
    auto result = exchange_.forward(level, std::move(messages));
    seconds_ += seconds_since(start);
    return result;
  }
  std::vector<Message> backward(int level, std::vector<Message> gradients) override {
    auto start = Clock::now();
    auto result = exchange_.backward(level, std::move(gradients));
    seconds_ += seconds_since(start);
    return result;
  }

 private:
  Exchange& exchange_;
  double& seconds_;
};

int64_t count_targets(const Sequence& batch) {
  return batch.learn.sum().item<int64_t>();
}

}  // namespace

Engine::Engine(const NetworkShape& shape, const Graph& graph, at::ScalarType dtype, const OptimizerConfig& optimizer,
               Mesh& mesh)
    : mesh_(mesh) {
  Plan plan(graph, mesh.vp_size, mesh.dp_size, Trains{}, shape.tied());
  network_ = std::make_unique<Network>(shape, graph, plan.placement(), mesh.vp_rank, dtype);
  optimizer_ = std::make_unique<Optimizer>(*network_, optimizer);
  enter_stage(Trains{});
}

void Engine::initialize(uint64_t seed) {
  for (const Parameter& parameter : network_->parameter_storage())
    for (const View& view : parameter.views) optimizer_->assign(view.name, initial_value(parameter, view, seed));
}

void Engine::begin_stage(const Trains& trains) {
  if (trains.head && network_->shape().tied())
    throw ConfigError("the head is tied to the embedding: name embeddings in `trains`, not head");
  if (count_parameters(network_->shape(), network_->graph()).trainable(trains) == 0)
    throw ConfigError("nothing that the stage's `trains` names has weights in this network: name another group");
  enter_stage(trains);
}

void Engine::enter_stage(const Trains& trains) {
  trains_ = trains;
  plan_ = std::make_unique<Plan>(network_->graph(), mesh_.vp_size, mesh_.dp_size, trains, network_->shape().tied());
  optimizer_->begin_stage(trains);
}

/// Lays the batch out over the replica and gives `run` a walk over this rank's part of it.
template <typename F>
auto Engine::walk(const Sequence& batch, F&& run) {
  Layout layout = plan_->layout(mesh_.vp_rank, batch.rows());
  std::vector<bool> gaps = gradient_gaps(network_->graph(), trains_);
  if (mesh_.vp_size == 1) {
    LocalExchange local;
    Walk walk(*network_, layout, local, gaps);
    return run(walk);
  }
  const int64_t length = network_->shape().prefix + batch.length();
  DistributedExchange distributed(*plan_, *mesh_.vertex, batch.rows(), length, network_->backbone().hidden_size,
                                  network_->dtype());
  TimedExchange timed(distributed, exchange_seconds_);
  Walk walk(*network_, layout, timed, gaps);
  return run(walk);
}

UpdateResult Engine::gradients(const Sequence& batch, int64_t micro_batch, bool stop, const LossRule& rule) {
  exchange_seconds_ = 0;
  optimizer_->zero_gradients();
  // The number of targets of the global batch comes first: every rank then back-propagates its part of Σ loss / n.
  at::Tensor targets = at::full({1}, mesh_.vp_rank == 0 ? count_targets(batch) : 0, at::kLong);
  mesh_.world->all_reduce(targets);
  int64_t n = targets.item<int64_t>();
  if (micro_batch == 0) micro_batch = batch.rows();
  double scale = n > 0 ? 1.0 / (static_cast<double>(n) + rule.epsilon) : 0.0;
  double loss = 0;
  for (int64_t row = 0; row < batch.rows(); row += micro_batch) {
    Sequence micro = batch.narrow({row, std::min(row + micro_batch, batch.rows())});
    loss += walk(micro, [&](Walk& walk) { return walk.loss_and_gradients(micro, scale, rule); });
  }
  auto start = Clock::now();
  std::vector<Bucket> buckets = optimizer_->buckets();
  sum_over_replicas(buckets, mesh_);
  at::Tensor sums = at::tensor(
      {loss, mesh_.dp_rank == 0 ? optimizer_->squared_norm(mesh_.vp_rank) : 0.0, stop ? 1.0 : 0.0}, at::kDouble);
  mesh_.world->all_reduce(sums);
  exchange_seconds_ += seconds_since(start);
  const double* sum = sums.const_data_ptr<double>();
  return {sum[0] * scale, std::sqrt(sum[1]), n, sum[2] > 0, exchange_seconds_};
}

UpdateResult Engine::update(const Sequence& batch, const UpdateOptions& options) {
  UpdateResult result = gradients(batch, options.micro_batch, options.stop, options.loss);
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm))
    throw NonFiniteError(
        fmt::format("loss {} and gradient norm {} are not finite; no weight was changed: lower the "
                    "learning rate or look at this update's data",
                    result.loss, result.grad_norm));
  double scale = options.clip > 0 && result.grad_norm > options.clip ? options.clip / (result.grad_norm + 1e-6) : 1.0;
  optimizer_->update(options.lr, scale);
  return result;
}

LossSum Engine::loss(const Sequence& batch) {
  double loss = batch.rows() == 0 ? 0 : walk(batch, [&](Walk& walk) { return walk.loss(batch); });
  at::Tensor sums =
      at::tensor({loss, mesh_.vp_rank == 0 && batch.rows() > 0 ? double(count_targets(batch)) : 0.0}, at::kDouble);
  mesh_.world->all_reduce(sums);
  return {sums[0].item<double>(), static_cast<int64_t>(sums[1].item<double>())};
}

at::Tensor Engine::hidden(const Sequence& batch) {
  return walk(batch, [&](Walk& walk) { return walk.hidden(batch); });
}

at::Tensor Engine::hidden(const Sequence& batch, Cache& cache) {
  return walk(batch, [&](Walk& walk) { return walk.hidden(batch, cache); });
}

at::Tensor Engine::logits(const at::Tensor& hidden) {
  at::NoGradGuard no_grad;
  return stacked_linear(hidden.unsqueeze(0), network_->head().value, {}, hidden.size(0) <= kFewRows)[0];
}

}  // namespace lmnet
