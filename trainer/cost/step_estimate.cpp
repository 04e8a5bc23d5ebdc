#include "trainer/cost/step_estimate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

namespace lmnet {
namespace {

/// Something that does one thing after the other.
struct Lane {
  double free = 0, busy = 0;

  /// When what becomes possible at `ready` and takes `seconds` is done.
  double run(double ready, double seconds) {
    busy += seconds;
    return free = std::max(free, ready) + seconds;
  }
};

/// How long `bytes` of a rank take that go in equal parts to all ranks of a group (its own part stays), `stride` apart.
double sharing_seconds(double bytes, int group, int stride, const DeviceSpec& device) {
  if (group == 1 || bytes == 0) return 0;
  const int near = std::min(group, std::max(1, device.ranks_per_host / stride));
  return device.latency +
         std::max(bytes * (near - 1) / group / device.local_link, bytes * (group - near) / group / device.link);
}

class Estimate {
 public:
  Estimate(const ModelSpec& spec, const Plan& plan, const StepShape& step, const StageCost& cost,
           const DeviceSpec& device);
  StepEstimate run();

 private:
  double exchange_seconds(int level, int64_t rows);
  double compute_seconds(double flops, double bytes) const;
  double reduction_seconds(int level, double element) const;
  double forward(double start, bool first);
  double backward(double start, bool last);
  double update_seconds() const;

  const ModelSpec& spec_;
  const Plan& plan_;
  const StepShape& step_;
  const StageCost& cost_;
  const DeviceSpec& device_;
  int head_;
  double width_, accumulation_;  // bytes of an element
  std::vector<RowRange> pieces_;
  std::map<std::pair<int, int64_t>, double> gaps_;  // seconds of an exchange, by level and rows
  Lane compute_, exchange_, reduction_;
};

Estimate::Estimate(const ModelSpec& spec, const Plan& plan, const StepShape& step, const StageCost& cost,
                   const DeviceSpec& device)
    : spec_(spec),
      plan_(plan),
      step_(step),
      cost_(cost),
      device_(device),
      head_(spec.graph.levels()),
      width_(static_cast<double>(at::elementSize(spec.dtype))),
      accumulation_(spec.dtype == at::kDouble ? 8 : 4),
      pieces_(plan.pieces(step.rows, step.overlap)) {}

double Estimate::compute_seconds(double flops, double bytes) const {
  return std::max(flops / (device_.flops(spec_.dtype) * device_.share), bytes / device_.memory_bandwidth);
}

/// The gap behind a level for so many rows: until the rank with most to send or to take is done.
double Estimate::exchange_seconds(int level, int64_t rows) {
  const auto [found, fresh] = gaps_.try_emplace({level, rows}, 0.0);
  if (!fresh) return found->second;
  struct Traffic {
    double sent = 0, taken = 0;
  };
  std::vector<Traffic> near(plan_.vertex_parallel()), far(plan_.vertex_parallel());
  const double row =
      static_cast<double>((spec_.shape.prefix + step_.tokens) * spec_.shape.backbone.hidden_size) * width_;
  for (const Route& route : plan_.routes(level, rows)) {
    if (route.from == route.to) continue;
    const bool same_host = route.from / device_.ranks_per_host == route.to / device_.ranks_per_host;
    std::vector<Traffic>& traffic = same_host ? near : far;
    const double bytes = row * static_cast<double>(route.share.rows.size());
    traffic[route.from].sent += bytes;
    traffic[route.to].taken += bytes;
  }
  const auto longest = [](const std::vector<Traffic>& traffic, double bandwidth) {
    double most = 0;
    for (const Traffic& rank : traffic) most = std::max({most, rank.sent, rank.taken});
    return most / bandwidth;
  };
  const double seconds = std::max(longest(near, device_.local_link), longest(far, device_.link));
  return found->second = seconds > 0 ? seconds + device_.latency : 0;
}

/// All parameters that a level uses first, over their replica groups: each element is `element` bytes.
double Estimate::reduction_seconds(int level, double element) const {
  double longest = 0;
  for (const RankCost& rank : cost_.ranks) {
    const double bytes = static_cast<double>(rank.levels[level].trainable) * element;
    const double data = sharing_seconds(bytes, plan_.data_parallel(), plan_.vertex_parallel(), device_);
    // What is sent beyond that goes between the holders of a replica.
    const double sent = rank.levels[level].reduced * element;
    const double between = bytes * (plan_.data_parallel() - 1) / plan_.data_parallel();
    const double holders = std::max(0.0, sent - between);
    const bool same_host = plan_.vertex_parallel() <= device_.ranks_per_host;
    longest = std::max(longest, data + holders / (same_host ? device_.local_link : device_.link));
  }
  return longest;
}

/// One pass from `start` to when the head's input is there and the head is done.
double Estimate::forward(double start, bool first) {
  std::vector<double> ready(pieces_.size(), start);
  double gathered = start, done = start;
  for (int l = 0; l <= head_; ++l) {
    if (first && step_.sharded) gathered = reduction_.run(start, reduction_seconds(l, width_));
    for (size_t p = 0; p < pieces_.size(); ++p) {
      const PieceCost& piece = cost_.pieces[p][l];
      done = compute_.run(std::max(ready[p], first ? gathered : start),
                          compute_seconds(piece.forward_flops, piece.weight_bytes));
      if (l < head_) ready[p] = exchange_.run(done, exchange_seconds(l, pieces_[p].size()));
    }
  }
  return done;
}

double Estimate::backward(double start, bool last) {
  std::vector<double> ready(pieces_.size(), start);
  double done = start, reduced = start;
  for (int l = head_; l >= 0; --l) {
    for (size_t p = 0; p < pieces_.size(); ++p) {
      const PieceCost& piece = cost_.pieces[p][l];
      const double bytes = piece.backward_flops > 0 ? 2 * piece.weight_bytes : 0;
      done = compute_.run(ready[p], compute_seconds(piece.backward_flops, bytes));
      if (l > 0 && plan_.carries_gradients(l - 1))
        ready[p] = exchange_.run(done, exchange_seconds(l - 1, pieces_[p].size()));
    }
    if (last && step_.overlap) reduced = reduction_.run(done, reduction_seconds(l, accumulation_));
  }
  if (last && !step_.overlap)
    for (int l = head_; l >= 0; --l) reduced = reduction_.run(done, reduction_seconds(l, accumulation_));
  if (last && !step_.sharded)  // the second half of an all-reduce
    for (int l = head_; l >= 0; --l) reduced = reduction_.run(done, reduction_seconds(l, accumulation_));
  return std::max(done, reduced);
}

/// AdamW is bound by memory: gradient, master weight and two moments are read, all but the gradient written, gradients
/// read once more for the norm and set to zero.
double Estimate::update_seconds() const {
  double longest = 0;
  for (const RankCost& rank : cost_.ranks) {
    double states = 0, gradients = 0;
    for (const LevelCost& level : rank.levels) {
      gradients += level.gradients;
      states += level.optimizer;
    }
    const double shard = states / (2 + (width_ < accumulation_ ? 1 : 0));
    longest = std::max(longest, (2 * states + 2 * shard + gradients + shard / 2) / device_.memory_bandwidth);
  }
  return longest;
}

StepEstimate Estimate::run() {
  StepEstimate result;
  double now = 0;
  for (int64_t i = 0; i < step_.micro_batches; ++i) {
    // The passes between the first and the last one are alike.
    const double begun = now;
    now = backward(forward(now, i == 0), i + 1 == step_.micro_batches);
    if (i == 1 && step_.micro_batches > 3) {
      const double again = static_cast<double>(step_.micro_batches - 3), seconds = now - begun;
      const double wire = exchange_.busy / 2, products = compute_.busy / 2;
      exchange_.busy += again * wire;
      compute_.busy += again * products;
      now += again * seconds;
      i = step_.micro_batches - 2;
    }
  }
  result.compute = compute_.busy;
  result.exchange = exchange_.busy;
  result.reduction = reduction_.busy;
  result.update = update_seconds();
  // Two things at a time share a link.
  now = std::max(now, exchange_.busy + reduction_.busy);
  result.seconds = now + result.update;
  result.exposed = now - result.compute;
  const double rows = static_cast<double>(step_.rows * step_.micro_batches) * plan_.data_parallel();
  result.tokens_per_s = rows * static_cast<double>(step_.tokens) / result.seconds;
  return result;
}

}  // namespace

StepEstimate estimate_step(const ModelSpec& spec, const Plan& plan, const Trains& trains, const StepShape& step,
                           const StageCost& cost, const DeviceSpec& device) {
  StepEstimate estimate = Estimate(spec, plan, step, cost, device).run();
  estimate.speed_up = estimate.seconds;
  if (plan.ranks() > 1) {
    const Plan alone(spec.graph, 1, 1, trains, spec.shape.tied());
    StepShape all = step;
    all.micro_batches *= plan.data_parallel();
    estimate.speed_up =
        estimate_step(spec, alone, trains, all, cost_of(spec, alone, trains, all), device).seconds / estimate.seconds;
  } else {
    estimate.speed_up = 1;
  }
  return estimate;
}

}  // namespace lmnet
