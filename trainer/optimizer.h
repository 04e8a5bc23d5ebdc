#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/network.h"
#include "parallel/reduction.h"
#include "trainer/config/config.h"

namespace lmnet {

/// AdamW over flat buffers, one for each (holders, part, decay): gradients, master weights and moments in fp32 (fp64 in
/// fp64 runs). In fp32 and fp64 the network computes with views of the master weights themselves; in bf16 with rounded
/// copies. Also the place where a parameter is read and written by its canonical name.
class Optimizer {
 public:
  /// What is kept of a parameter by name; moments are undefined for one that does not train.
  struct State {
    at::Tensor value, exp_avg, exp_avg_sq;
  };

  Optimizer(Network& network, const OptimizerConfig& config);

  /// Decides what trains from now on. Values stay; so do the moments of what goes on training.
  void begin_stage(const Trains& trains);

  /// Gradient buffers for sum_over_replicas(), in an order that all holders share.
  std::vector<Bucket> buckets() const;
  void zero_gradients();
  /// Σ gradient² over the buffers of which `rank` of the vertex-parallel group is the first holder.
  double squared_norm(int rank) const;

  /// One AdamW step; gradients are multiplied with `gradient_scale` first (clipping).
  void update(const std::map<Parameter::Part, double>& lr, double gradient_scale);

  /// Steps that each part has made.
  const std::map<Parameter::Part, int64_t>& steps() const { return steps_; }
  void set_steps(std::map<Parameter::Part, int64_t> steps) { steps_ = std::move(steps); }

  /// The names held here, in storage order.
  std::vector<std::string> names() const;
  const Parameter& parameter(const std::string& name) const;
  /// Views into the buffers (the master weight where there is one).
  State state(const std::string& name) const;
  at::Tensor gradient(const std::string& name) const;
  /// Sets the value (and the master weight) of a parameter from one of its shape, any dtype.
  void assign(const std::string& name, const at::Tensor& value);

 private:
  struct Place {
    size_t storage;
    View view;
  };
  struct Flat {
    Parameter::Part part;
    Holders holders;
    bool decays;
    std::vector<size_t> storages;
    at::Tensor master, gradient, exp_avg, exp_avg_sq;  // 1-D
  };
  void build(Flat& flat, const std::vector<State>& before);

  Network& network_;
  OptimizerConfig config_;
  std::map<std::string, Place> places_;
  std::vector<Flat> flats_;
  std::vector<State> state_;  // by storage: shaped as it
  std::map<Parameter::Part, int64_t> steps_;
};

}  // namespace lmnet
