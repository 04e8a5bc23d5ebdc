#include "trainer/checkpointer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "trainer/background_work.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/clock.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

/// Each tensor is written by its first holder in the first replica; others may own parts of it.
template <typename Take>
void copy_tensors(Engine& engine, Take&& take) {
  Optimizer& optimizer = engine.optimizer();
  const auto copy = [&](Optimizer::Kind kind, const char* suffix) {
    optimizer.visit(kind, [&](const std::string& name, const at::Tensor& whole) {
      const Parameter& parameter = optimizer.parameter(name);
      if (engine.mesh().dp_rank != 0 || parameter.holders.front() != engine.mesh().vp_rank) return;
      take(*suffix == '\0' ? file_kind(parameter.part) : "optimizer", name + suffix,
           at::empty(whole.sizes(), whole.options().device(at::kCPU)).copy_(whole));
    });
  };
  copy(Optimizer::Kind::value, "");
  copy(Optimizer::Kind::exp_avg, "@exp_avg");
  copy(Optimizer::Kind::exp_avg_sq, "@exp_avg_sq");
}

std::vector<StreamState> gather_streams(Communicator& world, const std::vector<StreamState>& own) {
  nlohmann::ordered_json mine = nlohmann::ordered_json::object();
  for (const StreamState& stream : own) mine[std::to_string(stream.stream)] = stream.position;
  std::vector<StreamState> all;
  for (const auto& of_rank : gather_json(world, mine))
    for (const auto& [stream, position] : of_rank.items())
      all.push_back({std::stoll(stream), position.get<std::string>()});
  return all;
}

}  // namespace

/// A checkpoint on its way: first every rank writes its files, then rank 0 makes a checkpoint of them.
struct Checkpointer::Saving {
  enum class Step { writing, publishing };
  struct HostTensor {
    std::string kind, name;
    at::Tensor value;
  };

  RunState state;
  CheckpointWriter writer;
  Clock::time_point start = Clock::now();
  std::vector<HostTensor> tensors = {};
  Manifest manifest = {};
  std::string state_json = {};
  std::string note = {};  // what went wrong beside it, on rank 0
  Step step = Step::writing;
  BackgroundWork work;  // this rank's of the step; last, so that it ends first

  Saving(RunState run, CheckpointWriter to) : state(std::move(run)), writer(std::move(to)) {}

  void write(const std::stop_token& asked) {
    for (HostTensor& tensor : tensors) {
      if (asked.stop_requested()) return;
      writer.add(tensor.kind, tensor.name, std::exchange(tensor.value, at::Tensor()));
    }
    writer.hand_in();
  }
};

const char* file_kind(Parameter::Part part) {
  switch (part) {
    case Parameter::Part::edges:
      return "edges";
    case Parameter::Part::vertices:
      return "vertices";
    default:
      return "embeddings";
  }
}

Checkpointer::Checkpointer(Engine& engine, const CheckpointConfig& config, std::filesystem::path dir,
                           CheckpointTexts texts, Say say)
    : engine_(engine),
      config_(config),
      dir_(std::move(dir)),
      texts_(std::move(texts)),
      say_(std::move(say)),
      faults_(std::getenv("LMNET_FAULT"), world().rank()) {}

Checkpointer::~Checkpointer() = default;

void Checkpointer::save(const RunState& state, const std::vector<StreamState>& streams, const std::string& stage_name) {
  if (saving_ && config_.busy == "skip") {
    say_(fmt::format("no checkpoint of update {}: that of update {} is still being written", state.run.updates,
                     saving_->state.run.updates));
    return;
  }
  settle();
  if (saved_ == state.run.updates) return;
  begin(state, streams, stage_name);
  if (!config_.async) settle();
}

void Checkpointer::save_last(const RunState& state, const std::vector<StreamState>& streams,
                             const std::string& stage_name) {
  settle();
  if (saved_ == state.run.updates) return;
  begin(state, streams, stage_name);
  settle();
  if (saved_ != state.run.updates) throw AgreedError(exit_code(CheckpointError("")), failure_);
}

void Checkpointer::begin(const RunState& state, const std::vector<StreamState>& streams,
                         const std::string& stage_name) {
  const SavePoint at_point = [this, update = state.run.updates](const char* point) { faults_.enter(point, update); };
  saving_ = std::make_unique<Saving>(state, CheckpointWriter(dir_, state.run.updates, world().rank(), at_point));
  Saving& saving = *saving_;
  saving.state.stream_states = gather_streams(world(), streams);
  saving.state_json = to_json(saving.state, engine_.network().shape(), engine_.optimizer().steps());
  Manifest& manifest = saving.manifest;
  manifest.stage = state.stage;
  manifest.stage_name = stage_name;
  manifest.tokens = static_cast<uint64_t>(state.run.tokens);
  manifest.vertex_parallel = engine_.mesh().vp_size;
  manifest.data_parallel = engine_.mesh().dp_size;
  manifest.topology = engine_.network().graph().topology();
  manifest.plan_hash = fmt::format("{:016x}", engine_.plan().hash());
  try {
    together(world(), [&] {
      if (world().rank() == 0) saving.writer.prepare();
    });
  } catch (const AgreedError& error) {
    return fail(error.what());
  }
  copy_tensors(engine_, [&](const char* kind, const std::string& name, const at::Tensor& value) {
    saving.tensors.push_back({kind, name, value});
  });
  saving.work.start([&saving, at_point](const std::stop_token& asked) {
    at_point("save-snapshot");
    saving.write(asked);
  });
}

void Checkpointer::before_update() {}

SaveVote Checkpointer::vote() {
  if (!saving_ || !saving_->work.over()) return {};
  return {1, saving_->work.failure().empty() ? 0 : 1};
}

void Checkpointer::take(const SaveVote& sum) {
  if (sum.finished < world().size()) return;
  if (sum.failed > 0) {
    for (const std::string& failure : gather_texts(world(), saving_->work.failure()))
      if (!failure.empty()) return fail(failure);
  }
  if (saving_->step == Saving::Step::writing)
    publish();
  else
    complete();
}

/// All files are written: rank 0 makes a checkpoint of them and lets older ones go.
void Checkpointer::publish() {
  saving_->step = Saving::Step::publishing;
  if (world().rank() != 0) return;
  saving_->work.start([this, &saving = *saving_](const std::stop_token&) {
    saving.writer.finish(saving.manifest, texts_.config_yaml, saving.state_json, texts_.tokenizer);
    std::optional<int64_t> keep_every;
    if (config_.keep_every) keep_every = static_cast<int64_t>(config_.keep_every->value);
    try {
      keep_newest(dir_, config_.keep, keep_every,
                  [&](const char* point) { faults_.enter(point, saving.state.run.updates); });
    } catch (const CheckpointError& error) {  // the new one stands all the same
      saving.note = fmt::format("warning: an old checkpoint stays: {}", error.what());
    }
  });
}

void Checkpointer::complete() {
  saved_ = saving_->state.run.updates;
  const double seconds = seconds_since(saving_->start);
  longest_ = std::max(longest_, seconds);
  say_(fmt::format("saved {} in {:.1f} s", (dir_ / folder_name(*saved_)).string(), seconds));
  if (!saving_->note.empty()) say_(saving_->note);
  saving_.reset();
}

void Checkpointer::fail(const std::string& reason) {
  const int64_t update = saving_->state.run.updates;
  try {
    if (world().rank() == 0) remove_path(saving_->writer.temporary());  // on a full disk it is in the way
  } catch (const CheckpointError&) {                                    // then the next start does it
  }
  saving_.reset();
  failure_ = fmt::format("the checkpoint of update {} was not saved: {}", update, reason);
  if (config_.on_failure == "stop") throw AgreedError(exit_code(CheckpointError("")), failure_);
  say_(fmt::format("warning: {}; the run goes on, and the next checkpoint that is due is tried again", failure_));
}

/// Waits for the save that is on its way, on all ranks.
void Checkpointer::settle() {
  while (saving_) {
    saving_->work.failure();
    const SaveVote own = vote();
    at::Tensor sum = at::tensor({own.finished, own.failed}, at::kLong);
    world().all_reduce(sum);
    take({static_cast<int>(sum[0].item<int64_t>()), static_cast<int>(sum[1].item<int64_t>())});
  }
}

std::filesystem::path save_checkpoint(const std::filesystem::path& dir, Engine& engine, const RunState& state,
                                      const std::vector<StreamState>& streams, const std::string& config_yaml,
                                      const std::string& stage_name, const TextFiles& tokenizer) {
  CheckpointConfig keep_all;
  keep_all.keep = std::numeric_limits<int>::max();
  Checkpointer checkpointer(engine, keep_all, dir, {config_yaml, tokenizer}, [](const std::string&) {});
  checkpointer.save_last(state, streams, stage_name);
  return dir / folder_name(state.run.updates);
}

void load_checkpoint(const CheckpointReader& checkpoint, Optimizer& optimizer, bool moments) {
  for (const std::string& name : optimizer.names()) {
    const at::Tensor held = optimizer.value(name);
    const auto load = [&](const std::string& tensor, Optimizer::Kind kind) {
      const at::Tensor value = checkpoint.read(tensor);
      require_shape(value, held.sizes(), fmt::format("{}: tensor {}", checkpoint.folder().string(), tensor));
      optimizer.assign(name, value, kind);
    };
    load(name, Optimizer::Kind::value);
    if (!moments || !optimizer.has_moments(name)) continue;
    load(name + "@exp_avg", Optimizer::Kind::exp_avg);
    load(name + "@exp_avg_sq", Optimizer::Kind::exp_avg_sq);
  }
  if (!moments) return;
  std::map<Parameter::Part, int64_t> steps;
  nlohmann::json json = nlohmann::json::parse(checkpoint.state_json());
  json = json.value("optimizer_steps", nlohmann::json::object());
  for (const auto& [part, unused] : optimizer.steps())
    steps[part] = json.value(std::string(to_string(part)), int64_t{0});
  optimizer.set_steps(std::move(steps));
}

}  // namespace lmnet
