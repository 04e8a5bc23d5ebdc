#include "trainer/config/schema.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "trainer/config/data.h"
#include "trainer/config/edges.h"
#include "trainer/config/presets.h"
#include "trainer/config/stages.h"
#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

using enum Span::Unit;

Codec<std::string> folder_name() {
  Codec<std::string> codec = text();
  codec.allowed = "a folder's name";
  codec.read = [read = codec.read](const Node& node, const std::string& path) {
    const std::string name = read(node, path);
    if (name.find('/') != name.npos || name == "." || name == "..") {
      refuse(node, path, "a folder's name without \"/\" (run.dir says where it lies)");
    }
    return name;
  };
  return codec;
}

Codec<double> seconds_of_time() {
  return convert<double, Span>(
      length({seconds}), [](const Span& span) { return span.value; },
      [](const double& value) {
        return Span{value, seconds};
      });
}

Mapping<RunConfig> run_keys() {
  Mapping<RunConfig> keys;
  keys.key("name", &RunConfig::name, given(folder_name()), "the run's folder in run.dir; without it the file's name")
      .key("dir", &RunConfig::dir, cast<std::filesystem::path>(text()), "where runs lie")
      .key("seed", &RunConfig::seed, cast<uint64_t>(whole(0)), "of initial weights and the order of the data")
      .key("resume", &RunConfig::resume, text(),
           "auto (newest complete checkpoint of the run), never, or a checkpoint or run")
      .key("time_limit", &RunConfig::time_limit, or_word("none", length({seconds})), "save and stop after this time");
  return keys;
}

Mapping<LoadConfig> load_keys() {
  const auto path = or_word("none", text());
  Mapping<LoadConfig> keys;
  keys.key("edges", &LoadConfig::edges, path, "a checkpoint or run out of which a new run takes its edges, by name")
      .key("vertices", &LoadConfig::vertices, path,
           "the same of vertices: those of the same name, or the weights that all vertices share there")
      .key("embeddings", &LoadConfig::embeddings, path, "the same of the embedding (and a tied head)")
      .key("head", &LoadConfig::head, path, "the same of the head")
      .key("prefix", &LoadConfig::prefix, path, "the same of the prefix")
      .key("all", &LoadConfig::all, path, "the same of all parts without a key of their own; the optimiser starts anew")
      .key("allow", &LoadConfig::allow,
           set_of(choice({"topology", "tokenizer"}), "a list of topology and tokenizer", true),
           "what may differ there; topology: what is missing begins as without model.load");
  return keys;
}

Mapping<ModelConfig> model_keys() {
  using Model = ModelConfig;
  Mapping<Model> input;
  input
      .key("prefix", &Model::prefix, whole(0), "vectors before the tokens of each row, without a position of their own")
      .key("edge", &Model::input_edge, edge_kinds(true), "between the embeddings and each vertex of the first level");
  std::vector<std::string> presets = preset_names();
  presets.insert(presets.begin(), "none");
  Mapping<Model> keys;
  keys.bound<TextOrMapping>(
          "backbone",
          [](const Model& model) {
            return TextOrMapping{model.backbone, model.backbone_json};
          },
          [](Model& model, TextOrMapping value) {
            std::tie(model.backbone, model.backbone_json) = std::tie(value.text, value.json);
          },
          text_or_mapping("a path or a mapping with the keys of a config.json"),
          "a Hugging Face folder or a checkpoint of topology 1; or a config.json or a mapping with its keys: random "
          "weights",
          Need::to_train)
      .bound<TextOrMapping>(
          "topology",
          [](const Model& model) {
            return TextOrMapping{model.topology, model.topology_json};
          },
          [](Model& model, TextOrMapping value) {
            std::tie(model.topology, model.topology_json) = std::tie(value.text, value.json);
          },
          text_or_mapping("a string such as 1-4-1 or a mapping {vertices: …, edges: …}"),
          "how many vertices each level has; a vertex of a graph may name a group and a backbone, an edge a kind")
      .key("sharing", &Model::sharing, choice({"all", "level", "none", "groups"}), "which vertices share weights")
      .key("preset", &Model::preset, choice(presets), "a network as published: defaults for the other keys, see below")
      .key("edge", &Model::edge, edge_kinds(false), "between vertices; a list is a chain in order of execution")
      .key("aggregation", &Model::aggregation, choice({"sum", "mean"}, {"weighted", "routed", "concat"}),
           "of the edges that meet in a vertex")
      .group("input", input)
      .key("residual", &Model::residual, choice({"none", "first"}),
           "first: the first vertex is added to what the head reads")
      .key("output", &Model::output, choice({"first", "mean", "sum"}), "which vertices of the last level feed the head")
      .key("classes", &Model::classes, whole(0), "rows of a head that classifies; 0: the head gives the next token")
      .constant<std::vector<std::string>>("adapters", {}, empty_list(), "lora, prefix, adapter_l, adapter_h")
      .key("precision", &Model::precision, choice({"bf16", "fp32", "fp64"}), "bf16 keeps fp32 master weights")
      .section("load", &Model::load, load_keys())
      .check([](Model& model, const Node& node, const std::string&) {
        const Node* topology = node.find("topology");
        model.where = (topology ? topology : &node)->where;
      });
  return keys;
}

Mapping<OptimizerConfig> optimizer_keys() {
  using Optimizer = OptimizerConfig;
  Codec<std::vector<double>> betas = list_of(real(share()), "two numbers from 0 to below 1");
  betas.read = [read = betas.read, allowed = betas.allowed](const Node& node, const std::string& path) {
    const std::vector<double> values = read(node, path);
    if (values.size() != 2) refuse(node, path, allowed);
    return values;
  };
  Mapping<Optimizer> keys;
  keys.constant<std::string>("kind", "adamw", choice({"adamw"}), "the only one so far")
      .bound<std::vector<double>>(
          "betas",
          [](const Optimizer& o) {
            return std::vector{o.beta1, o.beta2};
          },
          [](Optimizer& o, const std::vector<double>& values) { o.beta1 = values[0], o.beta2 = values[1]; }, betas,
          "decay of the two moments")
      .key("eps", &Optimizer::eps, real(above_zero()), "added to the root of the second moment")
      .key("weight_decay", &Optimizer::weight_decay, real(zero_or_above()), "pulls what decays towards 0")
      .key("decays", &Optimizer::decays,
           one_of<Decays>({{"matrices", Decays::matrices}, {"weights", Decays::weights}, {"all", Decays::all}}),
           "what weight_decay acts on; weights: everything but biases");
  return keys;
}

Mapping<LossConfig> loss_keys() {
  Mapping<LossConfig> keys;
  keys.key("label_smoothing", &LossConfig::label_smoothing, real(share()), "share of the target spread over all tokens")
      .key("epsilon", &LossConfig::epsilon, real(zero_or_above()),
           "added to the number of targets that divides the sum");
  return keys;
}

Mapping<SpikeConfig> spike_keys() {
  Mapping<SpikeConfig> keys;
  keys.key("window", &SpikeConfig::window, whole(2), "updates whose mean and deviation are compared with")
      .key("sigma", &SpikeConfig::sigma, real(above_zero()), "how many deviations above the mean are a spike");
  return keys;
}

Mapping<TrainConfig> train_keys() {
  Mapping<TrainConfig> keys;
  keys.key("global_batch", &TrainConfig::global_batch, given(whole(1)), "sequences in one update", Need::to_train)
      .key("micro_batch", &TrainConfig::micro_batch, given(whole(1)), "sequences of one replica in one forward",
           Need::to_train)
      .key("stages", &TrainConfig::stages, list_of(stage_keys().codec(), "a list of stages {trains, until, lr, …}"),
           "what trains, how long, how fast, one after the other", Need::to_train)
      .section("optimizer", &TrainConfig::optimizer, optimizer_keys())
      .key("clip", &TrainConfig::clip, real(zero_or_above()), "largest norm of the gradient; 0 = off")
      .section("loss", &TrainConfig::loss, loss_keys())
      .key("on_nan", &TrainConfig::on_nan, choice({"stop", "skip"}),
           "what a loss or norm that is not finite does; skip: no weight changes, the data goes on")
      .key("on_spike", &TrainConfig::on_spike, choice({"none", "skip", "stop"}), "what a spike of loss or norm does")
      .section("spike", &TrainConfig::spike, spike_keys())
      .key("skip_limit", &TrainConfig::skip_limit, whole(1), "a run stops where it would skip more updates in a row")
      .constant<std::string>("recompute", "none", choice({"none"}, {"blocks"}), "forward again instead of keeping")
      .check([](TrainConfig& train, const Node& node, const std::string& path) {
        if (const Node* stages = node.find("stages")) name_stages(train.stages, *stages, join(path, "stages"));
        if (train.micro_batch == 0 || train.global_batch % train.micro_batch == 0) return;
        fail(place_of(node, "micro_batch", "global_batch"),
             fmt::format("{} {} is not a multiple of train.micro_batch {}", join(path, "global_batch"),
                         train.global_batch, train.micro_batch));
      });
  return keys;
}

/// A time for all phases, or a mapping of phases to times.
Codec<ParallelConfig::Timeouts> timeouts() {
  using Timeouts = ParallelConfig::Timeouts;
  const Codec<double> time = seconds_of_time();
  Mapping<Timeouts> phases;
  phases
      .key("start", &Timeouts::start, time,
           "from the launch to the first update, and between stages: weights are read, data is opened")
      .key("step", &Timeouts::step, time, "of an update")
      .key("checkpoint", &Timeouts::checkpoint, time, "of a checkpoint: some ranks wait while others write")
      .key("evaluation", &Timeouts::evaluation, time, "of a validation");
  Codec<Timeouts> codec = phases.codec();
  codec.allowed = time.allowed + ", for all phases; or a mapping {start, step, checkpoint, evaluation} of such lengths";
  codec.is_section = false;
  codec.read = [=, by_phase = codec.read](const Node& node, const std::string& path) {
    if (node.kind != Node::Kind::scalar) return by_phase(node, path);
    const double all = time.read(node, path);
    return Timeouts{all, all, all, all};
  };
  return codec;
}

Mapping<ParallelConfig> parallel_keys() {
  const auto zero = convert<int, std::string>(
      choice({"0", "1"}, {"2", "3"}), [](const std::string& word) { return word == "0" ? 0 : 1; },
      [](const int& value) { return fmt::format("{}", value); });
  Mapping<ParallelConfig> keys;
  keys.key("vertex", &ParallelConfig::vertex, small_whole(1), "ranks that share one replica of the network")
      .key("data", &ParallelConfig::data, or_word("auto", small_whole(1)), "replicas; auto: ranks / parallel.vertex")
      .key("backend", &ParallelConfig::backend, choice({"auto", "mpi", "nccl"}),
           "what carries the exchanges; auto: nccl where each rank has a GPU of its own, else mpi")
      .key("device", &ParallelConfig::device, choice({"auto", "cpu", "cuda"}),
           "where the network is computed; auto: cuda where there is a GPU, else cpu")
      .key("zero", &ParallelConfig::zero, zero, "1: each rank keeps a share of the optimiser's states; 0: all of them")
      .key("overlap", &ParallelConfig::overlap, boolean(), "exchange a part of the rows while another part is computed")
      .key("timeout", &ParallelConfig::timeouts, timeouts(),
           "how long a rank may see nothing move before it gives up; the job ends with code 4");
  return keys;
}

Mapping<CheckpointConfig> checkpoint_keys() {
  using Checkpoint = CheckpointConfig;
  const auto every = or_word("none", length({updates}));
  const std::string signals = "a list of TERM, INT, USR1 and USR2";
  Mapping<Checkpoint> keys;
  keys.key("every", &Checkpoint::every, every, "between two checkpoints; none: at the end and on signals only")
      .key("keep", &Checkpoint::keep, small_whole(1), "how many of the newest stay")
      .key("keep_every", &Checkpoint::keep_every, every, "those of its multiples stay for good")
      .key("keep_best", &Checkpoint::keep_best, small_whole(0),
           "how many of those with the smallest validation loss stay; the loss of a validation at the same update")
      .key("async", &Checkpoint::async, boolean(), "write while training goes on")
      .key("ahead", &Checkpoint::ahead, whole(0),
           "updates that training may be ahead of a checkpoint that is written meanwhile (async), which a kill costs "
           "beside an interval; 0: the next forward and backward run meanwhile, and their update waits")
      .key("busy", &Checkpoint::busy, choice({"wait", "skip"}),
           "what a checkpoint does that is due while another one is being written")
      .key("frozen", &Checkpoint::frozen, choice({"reference", "copy"}),
           "weights out of a Hugging Face folder that never trained; reference: its path and checksums, copy: once a "
           "run")
      .key("on_failure", &Checkpoint::on_failure, choice({"continue", "stop"}),
           "what a checkpoint that cannot be written does; continue: the next one that is due tries again")
      .key("on_signal", &Checkpoint::on_signal, set_of(choice({"TERM", "INT", "USR1", "USR2"}), signals, true),
           "which signals save and stop");
  return keys;
}

Mapping<EvaluateConfig> evaluate_keys() {
  Mapping<EvaluateConfig> keys;
  keys.key("every", &EvaluateConfig::every, or_word("none", length({updates})), "between two validations")
      .key("batches", &EvaluateConfig::batches, whole(0), "micro batches of one validation; 0 = all of the data")
      .constant<std::vector<std::string>>("tasks", {}, empty_list(), "benchmarks");
  return keys;
}

Mapping<LogConfig> log_keys() {
  Mapping<LogConfig> keys;
  keys.key("every", &LogConfig::every, length({updates}), "between two lines of metrics; the last update has one too")
      .key("tensorboard", &LogConfig::tensorboard, boolean(), "event files for TensorBoard beside the metrics");
  return keys;
}

}  // namespace

Mapping<Config> config_schema() {
  Mapping<Config> keys;
  keys.section("run", &Config::run, run_keys())
      .section("model", &Config::model, model_keys())
      .section("data", &Config::data, data_keys())
      .section("train", &Config::train, train_keys())
      .section("parallel", &Config::parallel, parallel_keys())
      .section("checkpoint", &Config::checkpoint, checkpoint_keys())
      .section("evaluate", &Config::evaluate, evaluate_keys())
      .section("log", &Config::log, log_keys());
  return keys;
}

}  // namespace lmnet::config
