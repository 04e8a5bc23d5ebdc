#include "launch/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "launch/ranks.h"
#include "model/graph/errors.h"
#include "trainer/bench.h"
#include "trainer/config/config.h"
#include "trainer/evaluate.h"
#include "trainer/generation/generate.h"
#include "trainer/hugging_face/export.h"
#include "trainer/hugging_face/import.h"
#include "trainer/inspect.h"
#include "trainer/run_check.h"
#include "trainer/same_start.h"
#include "trainer/signals.h"
#include "trainer/together.h"
#include "trainer/tokenize.h"
#include "trainer/train.h"

namespace lmnet {
namespace {

/// The command line of one call, after parsing.
struct CommandLine {
  int argc = 0;
  char** argv = nullptr;
  std::string target;  // CONFIG, CHECKPOINT or WHAT
  std::vector<std::string> overrides;
  bool print_config = false, dry_run = false, json = false, jsonl = false, interactive = false, verify = false;
  int ranks = 1;
  MachineOptions machine;
  std::vector<std::string> prompt;
  std::string prompts;
  Sampling sampling;
  EvaluationOptions evaluation;
  BenchOptions bench;
  TokenizeOptions tokenize;
  std::string out, dtype;
  ImportOptions import;
};

/// What the ranks of a job compute on, and what joins them.
struct Ranks {
  RankDevice where;
  std::unique_ptr<Communicator> world;
};

Ranks choose_ranks(Communicator& host, const ParallelConfig& parallel) {
  Ranks ranks;
  together(host, [&] { ranks.where = choose_device(parallel.device, read_launch_environment(std::getenv)); });
  together(host, [&] { ranks.world = choose_backend(parallel.backend, ranks.where, host.fork()); });
  return ranks;
}

int run_train(const CommandLine& line) {
  if (line.print_config || line.dry_run) {
    Config config = load_config(line.target, line.overrides);
    fmt::print("{}", line.print_config ? to_yaml(config) : describe_run(config, line.ranks, line.machine));
    return 0;
  }
  // Before MPI starts: mpirun passes signals on from the first moment.
  StopSignals signals(CheckpointConfig().on_signal);
  return on_ranks(line.argc, line.argv, [&](const MpiRuntime& runtime, Communicator& world) {
    Config config;
    together(world, [&] { config = load_config(line.target, line.overrides); });
    require_same_config(world, runtime.hosts(), config);
    const Ranks ranks = choose_ranks(world, config.parallel);
    return train(*ranks.world, config, runtime.hosts(), signals, ranks.where);
  });
}

/// Ranks may have shares of unlike length: those that are done wait for the others as long as it takes.
constexpr std::chrono::hours kPatience{24 * 365};

int run_generate(const CommandLine& line) {
  return on_ranks(line.argc, line.argv, [&](const MpiRuntime& runtime, Communicator& world) {
    std::vector<Prompt> prompts;
    together(world, [&] {
      if (!line.prompt.empty() + !line.prompts.empty() + line.interactive != 1)
        throw ConfigError("generate takes one of --prompt TEXT, --prompts FILE.jsonl and --interactive");
      if (line.interactive && line.jsonl) throw ConfigError("--interactive talks to people: it goes without --jsonl");
      if (!line.prompts.empty()) prompts = read_prompts(line.prompts);
      for (const std::string& text : line.prompt) prompts.push_back({text, {}});
    });
    if (line.interactive) return generate_interactively(world, line.target, line.sampling);
    return generate(*runtime.world(kPatience), line.target, prompts, line.sampling, line.jsonl);
  });
}

int run_evaluate(CommandLine& line) {
  line.evaluation.json = line.json;
  return on_ranks(line.argc, line.argv, [&](const MpiRuntime& runtime, Communicator&) {
    return evaluate(*runtime.world(kPatience), line.target, line.evaluation);
  });
}

int run_inspect(const CommandLine& line) {
  fmt::print("{}", inspect(line.target, line.overrides, {line.json, line.verify}));
  return 0;
}

int run_export(const CommandLine& line) {
  export_checkpoint(line.target, line.out, line.dtype);
  fmt::print("{} is written\n", line.out);
  return 0;
}

int run_import(const CommandLine& line) {
  import_folder(line.target, line.out, line.import);
  fmt::print("{} is written\n", line.out);
  return 0;
}

int run_bench(CommandLine& line) {
  line.bench.json = line.json;
  return on_ranks(line.argc, line.argv, [&](const MpiRuntime& runtime, Communicator& world) {
    Config config;
    together(world, [&] { config = load_config(line.target, line.overrides); });
    require_same_config(world, runtime.hosts(), config);
    const Ranks ranks = choose_ranks(world, config.parallel);
    return bench(*ranks.world, config, line.bench, ranks.where);
  });
}

void add_target(CLI::App& verb, CommandLine& line, const char* name, const char* help, bool overrides) {
  verb.add_option(name, line.target, help)->required();
  if (overrides) verb.add_option("key=value", line.overrides, "overrides, such as train.micro_batch=4");
}

void add_train(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("train", "train; alone, or under mpirun -np N or srun; resumes by itself");
  add_target(*verb, line, "CONFIG", "a YAML file; `lmnet help config` lists its keys", true);
  verb->add_flag("--print-config", line.print_config, "print the effective config and end");
  verb->add_flag("--dry-run", line.dry_run, "print plan, parameters, memory and expected speed and end");
  verb->add_option("--ranks", line.ranks, "for --dry-run: the number of ranks")->check(CLI::PositiveNumber);
  MachineOptions& machine = line.machine;
  verb->add_option("--device", machine.device,
                   fmt::format("for --dry-run: what a rank runs on: {}", fmt::join(device_names(), ", ")));
  verb->add_option("--link-bandwidth", machine.link_bandwidth, "for --dry-run: GB/s of a rank to other hosts")
      ->check(CLI::PositiveNumber);
  verb->add_option("--local-bandwidth", machine.local_bandwidth, "for --dry-run: GB/s of a rank inside its host")
      ->check(CLI::PositiveNumber);
  verb->add_option("--ranks-per-host", machine.ranks_per_host, "for --dry-run: ranks of a host")
      ->check(CLI::PositiveNumber);
}

void add_generate(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("generate", "continue prompts");
  add_target(*verb, line, "CHECKPOINT", "a checkpoint, a run (its newest one), or a Hugging Face folder", false);
  Sampling& sampling = line.sampling;
  verb->add_option("--prompt", line.prompt, "the text to continue (may be given several times)")
      ->allow_extra_args(false);
  verb->add_option("--prompts", line.prompts, "JSON lines {\"prompt\": …}, {\"ids\": […]} or {\"messages\": […]}");
  verb->add_option("--max-new-tokens", sampling.max_new_tokens, "at most so many new tokens")->capture_default_str();
  verb->add_option("--temperature", sampling.temperature, "0 = greedy")->capture_default_str();
  verb->add_option("--top-k", sampling.top_k, "of the k most likely tokens only; 0 = all")->capture_default_str();
  verb->add_option("--top-p", sampling.top_p, "of the fewest tokens that have this probability")->capture_default_str();
  verb->add_option("--repetition-penalty", sampling.repetition_penalty, "as in Hugging Face; 1 = none")
      ->capture_default_str();
  verb->add_option("--no-repeat-ngram", sampling.no_repeat_ngram,
                   "no n-gram of new tokens comes twice, those of the prompt do not count; 0 = off")
      ->capture_default_str();
  verb->add_option("--beam", sampling.beams, "beam search with so many beams; 0 = off")->capture_default_str();
  verb->add_option("--length-penalty", sampling.length_penalty, "of beams: log-probability / length^penalty decides")
      ->capture_default_str();
  verb->add_option("--stop", sampling.stop, "end at this text (may be given several times)")->allow_extra_args(false);
  verb->add_option("--samples", sampling.samples, "completions of each prompt")->capture_default_str();
  verb->add_option("--seed", sampling.seed, "of the draws")->capture_default_str();
  verb->add_flag("--interactive", line.interactive, "continue each line that is typed, until the input ends");
  verb->add_flag("--jsonl", line.jsonl, "print {prompt, text, ids, logprob} a line");
}

void add_evaluate(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("evaluate", "loss, perplexity and exact match of the answers in a file");
  add_target(*verb, line, "CHECKPOINT", "a checkpoint, a run (its newest one), or a Hugging Face folder", false);
  EvaluationOptions& options = line.evaluation;
  verb->add_option("--data", options.data, "a file or a glob")->required();
  verb->add_option("--format", options.format, "c4, alpaca, messages or text")->capture_default_str();
  verb->add_option("--max-new-tokens", options.max_new_tokens, "of an answer; 0 = losses only")->capture_default_str();
  verb->add_option("--items", options.items, "write a JSON line for each item here");
  verb->add_flag("--json", line.json, "print the summary as JSON");
}

void add_inspect(CLI::App& app, CommandLine& line) {
  CLI::App* verb =
      app.add_subcommand("inspect", "what a config, checkpoint, run, folder or file of weights stands for");
  add_target(*verb, line, "WHAT", "a config, checkpoint, run, Hugging Face folder, config.json or .safetensors", true);
  verb->add_flag("--json", line.json, "print one JSON object");
  verb->add_flag("--verify", line.verify, "read every byte of a checkpoint or of weights and check it");
}

void add_export(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("export", "a checkpoint as a Hugging Face folder with modelling code");
  add_target(*verb, line, "CHECKPOINT", "a checkpoint, or a run (its newest one)", false);
  verb->add_option("OUT", line.out, "the folder to write")->required();
  verb->add_option("--dtype", line.dtype,
                   "bf16 or fp32; without it each tensor as the checkpoint keeps it, fp64 as fp32");
}

void add_import(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("import", "a checkpoint out of a folder with config.json and .safetensors");
  add_target(*verb, line, "FOLDER", "exported by LMNet, a plain Hugging Face one, or the official implementation's",
             false);
  verb->add_option("OUT", line.out, "the checkpoint to write")->required();
  verb->add_option("--preset", line.import.preset, "it is the official implementation's: reference-causal, …");
  verb->add_option("--topology", line.import.topology, "with --preset: its vertices per level, such as 1-2-1");
}

void add_bench(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("bench", "measure speed on random weights and tokens");
  add_target(*verb, line, "CONFIG", "a YAML file; its data is not read", true);
  verb->add_option("--what", line.bench.what, "train, forward or generate")->capture_default_str();
  verb->add_option("--steps", line.bench.steps, "measured steps")->capture_default_str()->check(CLI::PositiveNumber);
  verb->add_option("--warmup", line.bench.warmup, "steps before")->capture_default_str();
  verb->add_flag("--json", line.json, "print one JSON line");
}

void add_tokenize(CLI::App& app, CommandLine& line) {
  CLI::App* verb = app.add_subcommand("tokenize", "texts to tokens and back, as JSON lines");
  TokenizeOptions& options = line.tokenize;
  verb->add_option("TOKENIZER", options.tokenizer, "bytes, a folder or a tokenizer.json")->required();
  verb->add_option("FILE", options.file, "lines {\"text\": …} or {\"ids\": […]}; without it standard input");
  verb->add_flag("--decode", options.decode, "ids to text also where a line has both");
  verb->add_flag("--special", options.special, "read and write special tokens such as <|im_start|> in texts");
}

const std::vector<std::string> kPlanned = {"prepare", "submit", "status", "stop", "serve", "sweep", "report"};
const std::vector<std::string> kPlannedOptions = {"--task"};

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

const CLI::App* find_verb(const CLI::App& app, const std::string& name) {
  for (const CLI::App* verb : verbs_of(app))
    if (verb->get_name() == name) return verb;
  return nullptr;
}

[[noreturn]] void refuse_verb(const CLI::App& app, const std::string& word) {
  if (std::find(kPlanned.begin(), kPlanned.end(), word) != kPlanned.end())
    throw ConfigError(fmt::format("{} is planned, not built yet", word));
  std::vector<std::string> verbs{"help"};
  for (const CLI::App* verb : verbs_of(app)) verbs.push_back(verb->get_name());
  std::string near = nearest(word, verbs);
  throw ConfigError(fmt::format("unknown verb \"{}\"{}; the verbs are {}", word,
                                near.empty() ? "" : fmt::format(", did you mean {}?", near), fmt::join(verbs, ", ")));
}

/// `, did you mean --ranks?` for a word of the command line that is nearly an option of its verb.
std::string nearest_option(const CLI::App& app, std::span<char* const> words) {
  const CLI::App* verb = words.empty() ? nullptr : find_verb(app, words.front());
  if (verb == nullptr) return "";
  std::vector<std::string> known;
  for (const CLI::Option* option : verb->get_options()) known.push_back(option->get_name());
  for (std::string word : words.subspan(1)) {
    word = word.substr(0, word.find('='));
    if (!word.starts_with("--") || std::find(known.begin(), known.end(), word) != known.end()) continue;
    if (std::find(kPlannedOptions.begin(), kPlannedOptions.end(), word) != kPlannedOptions.end())
      return fmt::format("; {} is planned, not built yet", word);
    std::string near = nearest(word, known);
    if (!near.empty()) return fmt::format(", did you mean {}?", near);
  }
  return "";
}

int print_help(const CLI::App& app, const std::string& topic) {
  if (topic == "config") {
    fmt::print("{}", config_reference());
    return 0;
  }
  const CLI::App* verb = topic.empty() ? &app : find_verb(app, topic);
  if (verb == nullptr) refuse_verb(app, topic);
  fmt::print("{}", topic.empty() ? app.help() : verb->help("lmnet"));
  return 0;
}

int run_verb(const CLI::App& app, CommandLine& line) {
  if (app.got_subcommand("train")) return run_train(line);
  if (app.got_subcommand("generate")) return run_generate(line);
  if (app.got_subcommand("evaluate")) return run_evaluate(line);
  if (app.got_subcommand("inspect")) return run_inspect(line);
  if (app.got_subcommand("tokenize")) return tokenize(line.tokenize);
  if (app.got_subcommand("export")) return run_export(line);
  if (app.got_subcommand("import")) return run_import(line);
  return run_bench(line);
}

/// The code of a verb that is done, once all it printed is where it belongs.
int flushed(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  fmt::print(stderr, "lmnet: cannot write the standard output: {}\n", std::strerror(errno));
  return 3;
}

int refuse_arguments(const CLI::App& app, const CLI::ParseError& error, std::span<char* const> words) {
  const bool verb = !words.empty() && find_verb(app, words.front()) != nullptr;
  fmt::print(stderr, "lmnet: {}{}; see `lmnet help{}`\n", error.what(), nearest_option(app, words),
             verb ? fmt::format(" {}", words.front()) : "");
  return 2;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("LMNet: distributed training of language model networks", "lmnet");
  CommandLine line;
  line.argc = argc;
  line.argv = argv;
  app.footer("`lmnet help VERB` and `lmnet help config` tell more.");
  add_train(app, line);
  add_generate(app, line);
  add_evaluate(app, line);
  add_inspect(app, line);
  add_export(app, line);
  add_import(app, line);
  add_bench(app, line);
  add_tokenize(app, line);
  try {
    std::string word = argc > 1 ? argv[1] : "help";
    if (word == "help") return flushed(print_help(app, argc > 2 ? argv[2] : ""));
    if (!word.starts_with('-') && find_verb(app, word) == nullptr) refuse_verb(app, word);
    app.parse(argc, argv);
    return flushed(run_verb(app, line));
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return refuse_arguments(app, error, {argv + 1, static_cast<size_t>(argc - 1)});
  } catch (const std::exception& error) {
    return tell(error);
  }
}

}  // namespace lmnet
