#include "trainer/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "trainer/clock.h"

namespace lmnet {
namespace {

/// A buffer holds storages up to here (and one in any case): 64 MiB of gradients keep both the reduction's scratch and
/// what is left to reduce at the end small.
constexpr int64_t kFlatElements = int64_t{16} << 20;
/// The norm is taken of so many at a time, since its fp64 copies of them take memory.
constexpr int64_t kNormElements = int64_t{1} << 20;
/// Storages begin at multiples of so many elements, where products and lanes like them.
constexpr int64_t kAlignment = 64;

bool decays(const Parameter& parameter, Decays rule) {
  return rule == Decays::all || (rule == Decays::weights ? !parameter.bias() : parameter.matrix());
}

int64_t aligned(int64_t count) {
  return (count + kAlignment - 1) / kAlignment * kAlignment;
}

/// Elements of one row of a storage [E, rows, …].
int64_t row_size(const at::Tensor& storage) {
  return storage.numel() / (storage.size(0) * storage.size(1));
}

}  // namespace

Optimizer::Optimizer(Network& network, const OptimizerConfig& config, Mesh& mesh, bool sharded)
    : network_(network), config_(config) {
  const std::vector<Parameter>& storage = network_.parameter_storage();
  std::map<std::tuple<int, Parameter::Part, Holders, bool>, std::vector<size_t>> alike;
  for (size_t s = 0; s < storage.size(); ++s)
    alike[{storage[s].leg, storage[s].part, storage[s].holders, decays(storage[s], config_.decays)}].push_back(s);
  for (const auto& [key, storages] : alike) {
    const auto& [leg, part, holders, decays_too] = key;
    for (const size_t s : storages) {
      const int64_t count = aligned(storage[s].value.numel());
      const bool first = s == storages.front();
      if (first || flats_.back().count + count > kFlatElements)
        flats_.push_back({leg, part, decays_too, ReplicaGroup(mesh, holders, sharded)});
      Flat& flat = flats_.back();
      for (const View& view : storage[s].views) {
        const int64_t row = row_size(storage[s].value);
        places_[view.name] = {s, flats_.size() - 1, view,
                              flat.count + (view.item * storage[s].value.size(1) + view.offset) * row,
                              view.length * row};
      }
      flat.storages.push_back(s);
      flat.count += count;
    }
  }
  for (Flat& flat : flats_) flat.shard = flat.group.shard(flat.count);
}

void Optimizer::begin_stage(const Trains& stage) {
  require();
  for (Flat& flat : flats_) {
    const bool trains_now = trains(stage, flat.part);
    if (trains_now && !flat.trains()) start_training(flat);
    if (!trains_now && flat.trains()) stop_training(flat);
  }
  // Counted on every rank, also for parts that it does not hold: rank 0 writes them down for all.
  using enum Parameter::Part;
  for (Parameter::Part part : {edges, vertices, embeddings, head, prefix}) {
    if (!trains(stage, part)) {
      steps_.erase(part);
      continue;
    }
    steps_.try_emplace(part, 0);
    ever_trained_.insert(part);
  }
}

/// Gives `visit` each storage of the buffer and where it begins there.
template <typename F>
void Optimizer::each_storage(const Flat& flat, F&& visit) {
  int64_t offset = 0;
  for (const size_t s : flat.storages) {
    Parameter& parameter = network_.parameter_storage()[s];
    visit(parameter, [&, offset](const at::Tensor& whole) {
      return whole.narrow(0, offset, parameter.value.numel()).view(parameter.value.sizes());
    });
    offset += aligned(parameter.value.numel());
  }
}

/// From now on the network computes with views of one buffer. It stays when the part freezes.
void Optimizer::lay_out(Flat& flat) {
  const at::TensorOptions options = network_.parameter_storage()[flat.storages.front()].value.options();
  flat.value = at::zeros({flat.count}, options.requires_grad(false));
  each_storage(flat, [&](Parameter& parameter, auto&& view_in) {
    const at::Tensor view = view_in(flat.value);
    view.copy_(parameter.value.detach());
    parameter.value.set_data(view);
  });
}

void Optimizer::start_training(Flat& flat) {
  const at::NoGradGuard no_grad;
  if (!flat.value.defined()) lay_out(flat);
  const auto options = flat.value.options().dtype(network_.accumulation_dtype());
  flat.gradient = at::zeros({flat.count}, options);
  flat.master = flat.shard.of(flat.value).to(network_.accumulation_dtype());
  flat.exp_avg = at::zeros({flat.shard.size()}, options);
  flat.exp_avg_sq = at::zeros({flat.shard.size()}, options);
  each_storage(flat, [&](Parameter& parameter, auto&& view_in) {
    parameter.value.requires_grad_();
    parameter.gradient = view_in(flat.gradient);
  });
}

void Optimizer::stop_training(Flat& flat) {
  each_storage(flat, [&](Parameter& parameter, auto&&) {
    parameter.value.requires_grad_(false);
    parameter.gradient.reset();
  });
  for (at::Tensor* tensor : {&flat.gradient, &flat.master, &flat.exp_avg, &flat.exp_avg_sq}) tensor->reset();
}

void Optimizer::zero_gradients() {
  for (Flat& flat : flats_)
    if (flat.trains()) flat.gradient.zero_();
}

void Optimizer::start_reduction(int leg) {
  for (auto flat = flats_.rbegin(); flat != flats_.rend() && flat->leg >= leg; ++flat) {
    if (!flat->trains() || flat->reducing) continue;
    flat->work = flat->group.start_reduce(flat->gradient);
    flat->reducing = true;
  }
}

void Optimizer::finish_reduction() {
  start_reduction(0);
  for (auto flat = flats_.rbegin(); flat != flats_.rend(); ++flat) {
    wait(*flat);
    flat->reducing = false;
  }
}

void Optimizer::wait(Flat& flat) {
  const auto start = Clock::now();
  std::exchange(flat.work, Work()).wait();
  waited_ += seconds_since(start);
}

double Optimizer::take_waited() {
  return std::exchange(waited_, 0);
}

at::Tensor Optimizer::squared_norm() const {
  const auto device =
      network_.parameter_storage().empty() ? at::Device(at::kCPU) : network_.parameter_storage().front().value.device();
  at::Tensor sum = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
  for (const Flat& flat : flats_) {
    if (!flat.trains() || !flat.group.counts()) continue;
    for (const at::Tensor& part : flat.shard.of(flat.gradient).split(kNormElements))
      sum.add_(at::linalg_vector_norm(part, 2, std::nullopt, false, at::kDouble).square());
  }
  return sum;
}

void Optimizer::update(const std::map<Parameter::Part, double>& lr, double gradient_scale) {
  at::NoGradGuard no_grad;
  for (const auto& [part, rate] : lr) ++steps_[part];
  for (Flat& flat : flats_) {
    if (!flat.trains()) continue;
    if (flat.shard.size() > 0) {
      const at::Tensor gradient = flat.shard.of(flat.gradient);
      if (gradient_scale != 1) gradient.mul_(gradient_scale);
      // The kernel reads the step count from a tensor and does not advance it.
      const at::Tensor step =
          at::full({}, static_cast<double>(steps_.at(flat.part)), flat.master.options().dtype(at::kFloat));
      at::_fused_adamw_({flat.master}, {gradient}, {flat.exp_avg}, {flat.exp_avg_sq}, {}, {step}, lr.at(flat.part),
                        config_.beta1, config_.beta2, flat.decays ? config_.weight_decay : 0.0, config_.eps,
                        /*amsgrad=*/false, /*maximize=*/false);
      if (network_.dtype() == at::kBFloat16) flat.shard.of(flat.value).copy_(flat.master);
    }
    flat.work = flat.group.start_gather(flat.value);
  }
}

void Optimizer::require(int leg) {
  for (Flat& flat : flats_) {
    if (flat.leg > leg) break;
    wait(flat);
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

at::Tensor Optimizer::value(const std::string& name) const {
  const Place& place = places_.at(name);
  return slice(network_.parameter_storage()[place.storage].value.detach(), place.view);
}

/// A whole buffer of one kind; what does not stand whole on this rank is put together where the gradients were.
at::Tensor Optimizer::gather(Flat& flat, Kind kind) {
  if (kind == Kind::value && network_.dtype() != at::kBFloat16) return flat.value;
  const at::Tensor& shard = kept_of(flat, kind);
  if (kind != Kind::gradient && flat.shard.size() == flat.count) return shard;
  if (kind != Kind::gradient) flat.shard.of(flat.gradient).copy_(shard);
  flat.group.start_gather(flat.gradient).wait();
  return flat.gradient;
}

void Optimizer::visit(Kind kind, const std::function<void(const std::string&, const at::Tensor&)>& visitor) {
  const at::NoGradGuard no_grad;
  require();
  for (Flat& flat : flats_) {
    if (!flat.trains() && kind != Kind::value) continue;
    const at::Tensor whole = flat.trains() ? gather(flat, kind) : at::Tensor();
    each_storage(flat, [&](Parameter& parameter, auto&& view_in) {
      const at::Tensor storage = whole.defined() ? view_in(whole) : parameter.value.detach();
      for (const View& view : parameter.views) visitor(view.name, slice(storage, view));
    });
  }
}

const at::Tensor& Optimizer::kept_of(const Flat& flat, Kind kind) {
  return kind == Kind::exp_avg ? flat.exp_avg : kind == Kind::exp_avg_sq ? flat.exp_avg_sq : flat.master;
}

Shard Optimizer::inside(const Place& place, const Shard& shard) {
  const int64_t begin = std::clamp<int64_t>(shard.begin - place.begin, 0, place.count);
  return {begin, std::clamp<int64_t>(shard.end - place.begin, begin, place.count)};
}

std::vector<Optimizer::Kind> Optimizer::kept_kinds() const {
  if (network_.dtype() == at::kBFloat16) return {Kind::master, Kind::exp_avg, Kind::exp_avg_sq};
  return {Kind::exp_avg, Kind::exp_avg_sq};
}

std::vector<Optimizer::Kept> Optimizer::kept_once() const {
  std::vector<Kept> kept;
  for (const auto& [name, place] : places_) {
    const Flat& flat = flats_[place.flat];
    if (!flat.trains()) continue;
    const Shard mine = inside(place, flat.group.share(flat.count));
    if (mine.size() == 0) continue;
    for (const Kind kind : kept_kinds())
      kept.push_back({name, kind, mine.begin,
                      kept_of(flat, kind).narrow(0, place.begin + mine.begin - flat.shard.begin, mine.size())});
  }
  return kept;
}

Shard Optimizer::kept(const std::string& name) const {
  const Place& place = places_.at(name);
  const Flat& flat = flats_[place.flat];
  return flat.trains() ? inside(place, flat.shard) : Shard{};
}

void Optimizer::assign_kept(const std::string& name, Kind kind, const at::Tensor& values) {
  const at::NoGradGuard no_grad;
  const Place& place = places_.at(name);
  const Flat& flat = flats_[place.flat];
  const Shard here = kept(name);
  TORCH_CHECK(here.size() == values.numel(), "of ", name, " this rank keeps ", here.size(), " elements");
  if (here.size() > 0)
    kept_of(flat, kind).narrow(0, place.begin + here.begin - flat.shard.begin, here.size()).copy_(values.reshape(-1));
}

bool Optimizer::has_moments(const std::string& name) const {
  return flats_[places_.at(name).flat].trains();
}

void Optimizer::assign(const std::string& name, const at::Tensor& whole, Kind kind) {
  const at::NoGradGuard no_grad;
  require();
  const Place& place = places_.at(name);
  Flat& flat = flats_[place.flat];
  TORCH_CHECK(kind == Kind::value || flat.trains(), name, " does not train: it has no moments");
  if (kind == Kind::value) value(name).copy_(whole);
  const Shard here = kept(name);
  if (here.size() > 0) assign_kept(name, kind, whole.reshape(-1).narrow(0, here.begin, here.size()));
}

Optimizer::State Optimizer::state(const std::string& name) const {
  const Place& place = places_.at(name);
  const Flat& flat = flats_[place.flat];
  if (!flat.trains()) return {value(name), {}, {}};
  TORCH_CHECK(flat.shard.size() == flat.count, "this rank does not keep all of ", name);
  const auto view = [&](const at::Tensor& whole) {
    return whole.narrow(0, place.begin, place.count).view(value(name).sizes());
  };
  return {view(flat.master), view(flat.exp_avg), view(flat.exp_avg_sq)};
}

at::Tensor Optimizer::gradient(const std::string& name) const {
  const Place& place = places_.at(name);
  const at::Tensor& whole = network_.parameter_storage()[place.storage].gradient;
  return whole.defined() ? slice(whole, place.view) : at::Tensor();
}

}  // namespace lmnet
