#include "trainer/engine.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "model/graph/errors.h"
#include "model/kernels/kernels.h"
#include "trainer/clock.h"

namespace lmnet {
namespace {

int64_t count_targets(const Sequence& batch) {
  return batch.learn.sum().item<int64_t>();
}

}  // namespace

EngineOptions engine_options(const ParallelConfig& parallel) {
  return {parallel.zero > 0, parallel.overlap};
}

Engine::Engine(const NetworkShape& shape, const Graph& graph, at::TensorOptions options,
               const OptimizerConfig& optimizer, Mesh& mesh, EngineOptions parallel)
    : mesh_(mesh), parallel_(parallel), device_(options.device()) {
  Plan plan(graph, mesh.vp_size, mesh.dp_size, Trains{}, shape.tied());
  network_ = std::make_unique<Network>(shape, graph, plan.placement(), mesh.vp_rank, options);
  optimizer_ = std::make_unique<Optimizer>(*network_, optimizer, mesh, parallel.sharded);
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
  itineraries_.clear();
  optimizer_->begin_stage(trains);
}

const Itinerary& Engine::itinerary(int64_t rows) {
  return itineraries_.try_emplace(rows, *plan_, mesh_.vp_rank, rows).first->second;
}

/// Lays the batch out over the replica and gives `run` a walk over this rank's part of it.
template <typename F>
auto Engine::walk(const Sequence& sequence, LegHooks hooks, F&& run) {
  const Sequence batch = sequence.to(device_);
  std::vector<bool> gaps = gradient_gaps(network_->graph(), trains_);
  hooks.before = [this](int leg) { optimizer_->require(leg); };
  if (mesh_.vp_size == 1) {
    LocalExchange local;
    Walk walk(*network_, {{{0, batch.rows()}, &itinerary(batch.rows()).layout, &local}}, std::move(gaps), hooks);
    return run(walk, batch);
  }
  const std::vector<RowRange> pieces = plan_->pieces(batch.rows(), parallel_.overlap);
  const int64_t length = network_->shape().prefix + batch.length();
  std::vector<DistributedExchange> exchanges;
  exchanges.reserve(pieces.size());
  std::vector<Piece> parts;
  for (const RowRange rows : pieces) {
    const Itinerary& way = itinerary(rows.size());
    exchanges.emplace_back(way, *mesh_.vertex, length, network_->backbone().hidden_size,
                           batch.tokens.options().dtype(network_->dtype()), exchange_seconds_);
    parts.push_back({rows, &way.layout, &exchanges.back()});
  }
  Walk walk(*network_, std::move(parts), std::move(gaps), hooks);
  return run(walk, batch);
}

UpdateResult Engine::gradients(const Sequence& batch, int64_t micro_batch, bool stop, const LossRule& rule,
                               const SaveVote& save) {
  exchange_seconds_ = 0;
  optimizer_->take_waited();  // a validation or checkpoint came in between
  optimizer_->zero_gradients();
  // The number of targets of the global batch comes first: every rank then back-propagates its part of Σ loss / n.
  at::Tensor targets = at::full({1}, mesh_.vp_rank == 0 ? count_targets(batch) : 0, at::kLong);
  mesh_.world->all_reduce(targets);
  int64_t n = targets.item<int64_t>();
  if (micro_batch == 0) micro_batch = batch.rows();
  double scale = n > 0 ? 1.0 / (static_cast<double>(n) + rule.epsilon) : 0.0;
  at::Tensor loss = at::zeros({}, at::TensorOptions(at::kDouble).device(device_));
  for (int64_t row = 0; row < batch.rows(); row += micro_batch) {
    Sequence micro = batch.narrow({row, std::min(row + micro_batch, batch.rows())});
    LegHooks hooks;
    // Added up over the micro-batches first, and over the copies once.
    if (parallel_.overlap && row + micro_batch >= batch.rows())
      hooks.after = [this](int leg) { optimizer_->start_reduction(leg); };
    loss += walk(micro, hooks,
                 [&](Walk& walk, const Sequence& rows) { return walk.loss_and_gradients(rows, scale, rule); });
  }
  optimizer_->finish_reduction();
  at::Tensor sums = at::zeros({5}, at::kDouble);
  sums.narrow(0, 0, 2).copy_(at::stack({loss, optimizer_->squared_norm()}));
  double* sum = sums.mutable_data_ptr<double>();
  std::tie(sum[2], sum[3], sum[4]) = std::tuple(stop ? 1 : 0, save.finished, save.failed);
  exchange_seconds_ += optimizer_->take_waited();
  const auto start = Clock::now();
  mesh_.world->all_reduce(sums);
  exchange_seconds_ += seconds_since(start);
  const SaveVote votes{static_cast<int>(sum[3]), static_cast<int>(sum[4])};
  return {sum[0] * scale, std::sqrt(sum[1]), n, sum[2] > 0, votes, exchange_seconds_};
}

UpdateResult Engine::update(const Sequence& batch, const UpdateOptions& options) {
  UpdateResult result = gradients(batch, options.micro_batch, options.stop, options.loss, options.save);
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm))
    throw NonFiniteError(
        fmt::format("loss {} and gradient norm {} are not finite; no weight was changed: lower the "
                    "learning rate or look at this update's data",
                    result.loss, result.grad_norm));
  apply(result, options);
  return result;
}

void Engine::apply(const UpdateResult& result, const UpdateOptions& options) {
  double scale = options.clip > 0 && result.grad_norm > options.clip ? options.clip / (result.grad_norm + 1e-6) : 1.0;
  options.before_change();
  optimizer_->update(options.lr, scale);
}

LossSum Engine::loss(const Sequence& batch) {
  const double loss = batch.rows() == 0 ? 0 : walk(batch, {}, [](Walk& walk, const Sequence& rows) {
                                                return walk.loss(rows);
                                              }).template item<double>();
  at::Tensor sums =
      at::tensor({loss, mesh_.vp_rank == 0 && batch.rows() > 0 ? double(count_targets(batch)) : 0.0}, at::kDouble);
  mesh_.world->all_reduce(sums);
  return {sums[0].item<double>(), static_cast<int64_t>(sums[1].item<double>())};
}

at::Tensor Engine::hidden(const Sequence& batch) {
  return walk(batch, {}, [](Walk& walk, const Sequence& rows) { return walk.hidden(rows); });
}

at::Tensor Engine::hidden(const Sequence& batch, Cache& cache) {
  return walk(batch, {}, [&](Walk& walk, const Sequence& rows) { return walk.hidden(rows, cache); });
}

at::Tensor Engine::logits(const at::Tensor& hidden) {
  at::NoGradGuard no_grad;
  return stacked_linear(hidden.unsqueeze(0), network_->head().value, {}, hidden.size(0) <= kFewRows)[0];
}

}  // namespace lmnet
