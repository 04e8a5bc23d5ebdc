#pragma once
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lmnet {

/// The words that the program was called with, which MPI wants to see.
struct ProgramArguments {
  int count = 0;
  char** words = nullptr;
};

/// A verb of the command line, such as `lmnet train`.
class Verb {
 public:
  Verb(std::string name, std::string help) : name_(std::move(name)), help_(std::move(help)) {}
  virtual ~Verb() = default;

  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }

  /// Says which words it takes and where they go to.
  virtual void describe(CLI::App& app) = 0;
  /// Does it, after parsing; returns the exit code. What a user can cause throws.
  virtual int run(ProgramArguments arguments) = 0;

 private:
  std::string name_, help_;
};

using Verbs = std::vector<std::unique_ptr<Verb>>;

// The groups of verbs, each in a file of its name.
Verbs training_verbs();  // train, bench, check
Verbs text_verbs();      // generate, evaluate, tokenize
Verbs folder_verbs();    // inspect, prepare, export, import
Verbs run_verbs();       // submit, status, stop
Verbs sweep_verbs();     // sweep

/// For options that take a word: empty if it is one of these, else what is wrong, with the nearest one.
std::string refusal_of(const std::string& word, const std::vector<std::string>& words);

/// For options that take a number: empty for a whole number above 0, else what is wrong.
std::string refusal_of_count(const std::string& word);

/// `key=value` words behind a CONFIG.
void add_overrides(CLI::App& app, std::vector<std::string>& overrides);

}  // namespace lmnet
