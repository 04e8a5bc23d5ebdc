#include "launch/verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <span>

#include "launch/ranks.h"
#include "launch/verb.h"
#include "model/graph/errors.h"
#include "trainer/config/config.h"

namespace lmnet {
namespace {

const std::vector<std::string> kPlanned = {"serve", "report"};
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

int print_help(const CLI::App& app, std::span<char* const> words) {
  const std::string topic = words.empty() ? "" : words.front();
  if (topic == "config") {
    const bool markdown = words.size() > 1 && std::string_view(words[1]) == "--markdown";
    fmt::print("{}", markdown ? config_markdown() : config_reference());
    return 0;
  }
  const CLI::App* verb = topic.empty() ? &app : find_verb(app, topic);
  if (verb == nullptr) refuse_verb(app, topic);
  fmt::print("{}", topic.empty() ? app.help() : verb->help("lmnet"));
  return 0;
}

Verbs all_verbs() {
  Verbs all;
  for (Verbs (*group)() : {training_verbs, text_verbs, folder_verbs, run_verbs, sweep_verbs})
    std::ranges::move(group(), std::back_inserter(all));
  return all;
}

int run_verb(const CLI::App& app, const Verbs& verbs, ProgramArguments arguments) {
  const auto called = std::ranges::find_if(verbs, [&](const auto& verb) { return app.got_subcommand(verb->name()); });
  return (*called)->run(arguments);
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

std::string refusal_of(const std::string& word, const std::vector<std::string>& words) {
  if (std::ranges::find(words, word) != words.end()) return "";
  const std::string near = nearest(word, words);
  return fmt::format("\"{}\" is not one of {}{}", word, fmt::join(words, ", "),
                     near.empty() ? "" : fmt::format(", did you mean {}?", near));
}

std::string refusal_of_count(const std::string& word) {
  const bool digits = !word.empty() && word.find_first_not_of("0123456789") == word.npos;
  const bool fits = digits && word.find_first_not_of('0') != word.npos && word.size() < 10;
  return fits ? "" : fmt::format("expected a whole number above 0, got {}", word);
}

void add_overrides(CLI::App& app, std::vector<std::string>& overrides) {
  app.add_option("key=value", overrides, "overrides, such as train.micro_batch=4");
}

int run_command_line(int argc, char** argv) {
  CLI::App app("LMNet: distributed training of language model networks", "lmnet");
  app.footer("`lmnet help VERB` and `lmnet help config` tell more.");
  const Verbs verbs = all_verbs();
  for (const auto& verb : verbs) verb->describe(*app.add_subcommand(verb->name(), verb->help()));
  try {
    std::string word = argc > 1 ? argv[1] : "help";
    if (word == "help") return flushed(print_help(app, {argv + std::min(argc, 2), argv + argc}));
    if (!word.starts_with('-') && find_verb(app, word) == nullptr) refuse_verb(app, word);
    app.parse(argc, argv);
    return flushed(run_verb(app, verbs, {argc, argv}));
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return refuse_arguments(app, error, {argv + 1, static_cast<size_t>(argc - 1)});
  } catch (const std::exception& error) {
    return tell(error);
  }
}

}  // namespace lmnet
