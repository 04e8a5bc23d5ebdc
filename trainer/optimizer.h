#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/network.h"
#include "parallel/reduction.h"
#include "trainer/config/config.h"

namespace lmnet {

/// AdamW over flat buffers, one for each (leg of first use, holders, part, decay). A buffer's values are what the
/// network computes with; its gradient is whole on every holder, fp32 (fp64 in fp64 runs); of its replica group each
/// rank keeps master weights (bf16 runs) and moments for its shard only (ZeRO-1), or all ranks keep all (ZeRO 0).
/// Buffers are reduced from the last leg to the first while the backward pass goes on, and gathered from the first
/// to the last while the next forward pass begins. Also the place where a parameter is read and written by its
/// canonical name.
class Optimizer {
 public:
  /// `mesh` and `network` outlive it.
  Optimizer(Network& network, const OptimizerConfig& config, Mesh& mesh, bool sharded);

  /// Decides what trains from now on. Values stay; so do the moments of what goes on training.
  void begin_stage(const Trains& trains);

  void zero_gradients();
  /// The gradients of what is first used at `leg` or behind it are complete here: starts to add them up over their
  /// replica groups. Called for descending legs, the same on all ranks.
  void start_reduction(int leg);
  /// Starts what was not started yet and waits for all of it.
  void finish_reduction();
  /// Σ gradient² over what this rank counts: over all ranks of the world each parameter counts once.
  at::Tensor squared_norm() const;

  /// One AdamW step after finish_reduction(); gradients are multiplied with `gradient_scale` first (clipping). Starts
  /// to gather the new values.
  void update(const std::map<Parameter::Part, double>& lr, double gradient_scale);
  /// Waits for the values of what is first used up to `leg`; without a leg for all.
  void require(int leg);
  void require() { require(vertex_leg(network_.graph().levels())); }

  /// Seconds that this rank has waited for reductions and gathers since the last call.
  double take_waited();

  /// Steps that each part has made.
  const std::map<Parameter::Part, int64_t>& steps() const { return steps_; }
  void set_steps(std::map<Parameter::Part, int64_t> steps) { steps_ = std::move(steps); }

  /// The names held here, in storage order.
  std::vector<std::string> names() const;
  const Parameter& parameter(const std::string& name) const;

  /// What the network computes with: a view, in compute dtype.
  at::Tensor value(const std::string& name) const;

  enum class Kind { value, master, exp_avg, exp_avg_sq, gradient };
  /// Visits every tensor of a kind that is held here, whole: master weights where there are any, moments and gradients
  /// only of what trains. Collective over the mesh when the optimiser is sharded. A tensor lasts until its visit ends;
  /// a visit of another kind may take the place of the gradients.
  void visit(Kind kind, const std::function<void(const std::string& name, const at::Tensor& whole)>& visitor);

  /// Sets a parameter (and its master weight), or its moment, from a tensor of its shape, any dtype. Moments of what
  /// does not train are refused.
  void assign(const std::string& name, const at::Tensor& whole, Kind kind = Kind::value);
  bool has_moments(const std::string& name) const;
  /// Whether it has trained at any time since this optimiser was made.
  bool ever_trained(const std::string& name) const { return ever_trained_.contains(parameter(name).part); }

  /// What training keeps of parameters besides their values: moments, in bf16 runs master weights too.
  std::vector<Kind> kept_kinds() const;
  /// Elements of a parameter in row-major order.
  struct Kept {
    std::string name;
    Kind kind;
    int64_t offset;
    at::Tensor values;  // 1-D, a view
  };
  /// Of what is kept here, this rank's share: over all ranks every element is there once.
  std::vector<Kept> kept_once() const;
  /// The elements of a parameter of which something is kept here; none where it does not train.
  Shard kept(const std::string& name) const;
  /// Sets what is kept of a parameter from as many values, any dtype.
  void assign_kept(const std::string& name, Kind kind, const at::Tensor& values);

  /// What is kept of a parameter by name, as views; moments are undefined for one that does not train. Only where this
  /// rank owns all of it: alone, or without sharding.
  struct State {
    at::Tensor value, exp_avg, exp_avg_sq;
  };
  State state(const std::string& name) const;
  /// The same of its gradient: undefined where it does not train.
  at::Tensor gradient(const std::string& name) const;

 private:
  /// Storages that go through reduction, update and gathering together.
  struct Flat {
    int leg;
    Parameter::Part part;
    bool decays;
    ReplicaGroup group;
    std::vector<size_t> storages = {};
    int64_t count = 0;
    Shard shard = {};
    at::Tensor value = {};     // [count], compute dtype: the network's values are views of it
    at::Tensor gradient = {};  // [count]; this and the next are undefined unless it trains
    at::Tensor master = {}, exp_avg = {}, exp_avg_sq = {};  // [shard]; in fp32 and fp64 the master is a view of `value`
    bool reducing = false;
    Work work = {};
    bool trains() const { return gradient.defined(); }
  };
  /// Where a parameter stands: in its storage, and in the flat buffer of it.
  struct Place {
    size_t storage, flat;
    View view;
    int64_t begin, count;
  };
  template <typename F>
  void each_storage(const Flat& flat, F&& visit);
  void lay_out(Flat& flat);
  void start_training(Flat& flat);
  void stop_training(Flat& flat);
  void wait(Flat& flat);
  at::Tensor gather(Flat& flat, Kind kind);
  static const at::Tensor& kept_of(const Flat& flat, Kind kind);
  /// The elements of a parameter that lie in `shard` of its buffer.
  static Shard inside(const Place& place, const Shard& shard);

  Network& network_;
  OptimizerConfig config_;
  std::vector<Flat> flats_;  // by leg
  std::map<std::string, Place> places_;
  std::map<Parameter::Part, int64_t> steps_;
  std::set<Parameter::Part> ever_trained_;
  double waited_ = 0;
};

}  // namespace lmnet
