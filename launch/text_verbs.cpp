#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "data/format_file.h"
#include "launch/ranks.h"
#include "launch/verb.h"
#include "model/graph/errors.h"
#include "trainer/evaluate.h"
#include "trainer/generation/generate.h"
#include "trainer/together.h"
#include "trainer/tokenize.h"

namespace lmnet {
namespace {

/// Ranks may have shares of unlike length: those that are done wait for the others as long as it takes.
constexpr std::chrono::hours kPatience{24 * 365};

constexpr const char* kWeights = "a checkpoint, a run (its newest one), or a Hugging Face folder";

class Generate final : public Verb {
 public:
  Generate() : Verb("generate", "continue prompts") {}

  void describe(CLI::App& app) override {
    app.add_option("CHECKPOINT", checkpoint_, kWeights)->required();
    app.add_option("--prompt", prompt_, "the text to continue (may be given several times)")->allow_extra_args(false);
    app.add_option("--prompts", prompts_, "JSON lines {\"prompt\": …}, {\"ids\": […]} or {\"messages\": […]}");
    app.add_option("--max-new-tokens", sampling_.max_new_tokens, "at most so many new tokens")->capture_default_str();
    app.add_option("--temperature", sampling_.temperature, "0 = greedy")->capture_default_str();
    app.add_option("--top-k", sampling_.top_k, "of the k most likely tokens only; 0 = all")->capture_default_str();
    app.add_option("--top-p", sampling_.top_p, "of the fewest tokens that have this probability")
        ->capture_default_str();
    app.add_option("--repetition-penalty", sampling_.repetition_penalty, "as in Hugging Face; 1 = none")
        ->capture_default_str();
    app.add_option("--no-repeat-ngram", sampling_.no_repeat_ngram,
                   "no n-gram of new tokens comes twice, those of the prompt do not count; 0 = off")
        ->capture_default_str();
    app.add_option("--beam", sampling_.beams, "beam search with so many beams; 0 = off")->capture_default_str();
    app.add_option("--length-penalty", sampling_.length_penalty, "of beams: log-probability / length^penalty decides")
        ->capture_default_str();
    app.add_option("--stop", sampling_.stop, "end at this text (may be given several times)")->allow_extra_args(false);
    app.add_option("--samples", sampling_.samples, "completions of each prompt")->capture_default_str();
    app.add_option("--seed", sampling_.seed, "of the draws")->capture_default_str();
    app.add_flag("--interactive", interactive_, "continue each line that is typed, until the input ends");
    app.add_flag("--jsonl", jsonl_, "print {prompt, text, ids, logprob} a line");
  }

  int run(ProgramArguments arguments) override {
    return on_ranks(arguments.count, arguments.words, [&](const MpiRuntime& runtime, Communicator& world) {
      std::vector<Prompt> prompts;
      together(world, [&] { prompts = read(); });
      if (interactive_) return generate_interactively(world, checkpoint_, sampling_);
      return generate(*runtime.world(kPatience), checkpoint_, prompts, sampling_, jsonl_);
    });
  }

 private:
  std::vector<Prompt> read() const {
    if (!prompt_.empty() + !prompts_.empty() + interactive_ != 1)
      throw ConfigError("generate takes one of --prompt TEXT, --prompts FILE.jsonl and --interactive");
    if (interactive_ && jsonl_) throw ConfigError("--interactive talks to people: it goes without --jsonl");
    std::vector<Prompt> prompts;
    if (!prompts_.empty()) prompts = read_prompts(prompts_);
    for (const std::string& text : prompt_) prompts.push_back({text, {}});
    return prompts;
  }

  std::string checkpoint_, prompts_;
  std::vector<std::string> prompt_;
  Sampling sampling_;
  bool interactive_ = false, jsonl_ = false;
};

class Evaluate final : public Verb {
 public:
  Evaluate() : Verb("evaluate", "loss, perplexity and exact match of the answers in a file") {}

  void describe(CLI::App& app) override {
    app.add_option("CHECKPOINT", checkpoint_, kWeights)->required();
    app.add_option("--data", options_.data, "a file or a glob")->required();
    app.add_option("--format", options_.format, "how its records are written, as in data.train")
        ->capture_default_str()
        ->check([](const std::string& word) { return refusal_of(word, Formats().names()); });
    app.add_option("--limit", options_.limit, "the first so many items; without it all")->check(refusal_of_count);
    app.add_option("--max-new-tokens", options_.max_new_tokens, "of an answer; 0 = losses only")->capture_default_str();
    app.add_option("--items", options_.items, "write a JSON line for each item here");
    app.add_flag("--json", options_.json, "print the summary as JSON");
  }

  int run(ProgramArguments arguments) override {
    return on_ranks(arguments.count, arguments.words, [&](const MpiRuntime& runtime, Communicator&) {
      return evaluate(*runtime.world(kPatience), checkpoint_, options_);
    });
  }

 private:
  std::string checkpoint_;
  EvaluationOptions options_;
};

class Tokenize final : public Verb {
 public:
  Tokenize() : Verb("tokenize", "texts to tokens and back, as JSON lines") {}

  void describe(CLI::App& app) override {
    app.add_option("TOKENIZER", options_.tokenizer, "bytes, a folder or a tokenizer.json")->required();
    app.add_option("FILE", options_.file, "lines {\"text\": …} or {\"ids\": […]}; without it standard input");
    app.add_flag("--decode", options_.decode, "ids to text also where a line has both");
    app.add_flag("--special", options_.special, "read and write special tokens such as <|im_start|> in texts");
  }

  int run(ProgramArguments) override { return tokenize(options_); }

 private:
  TokenizeOptions options_;
};

}  // namespace

Verbs text_verbs() {
  Verbs verbs;
  verbs.push_back(std::make_unique<Generate>());
  verbs.push_back(std::make_unique<Evaluate>());
  verbs.push_back(std::make_unique<Tokenize>());
  return verbs;
}

}  // namespace lmnet
