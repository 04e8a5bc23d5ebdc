#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "launch/ranks.h"
#include "launch/verb.h"
#include "trainer/hugging_face/export.h"
#include "trainer/hugging_face/import.h"
#include "trainer/inspect/data.h"
#include "trainer/inspect/inspect.h"
#include "trainer/prepare.h"

namespace lmnet {
namespace {

/// What raw data is; as in a config.
void add_data_words(CLI::App& app, DataWords& words) {
  app.add_option("--format", words.format, "WHAT is raw data: how its records are written");
  app.add_option("--formats", words.formats, "of raw data: a file of formats of your own");
  app.add_option("--registry", words.registry,
                 "of raw data: a file of sources; without --format, WHAT is a name in it");
  app.add_option("--tokenizer", words.tokenizer, "of data: a folder, a tokenizer.json, or bytes");
}

class Inspect final : public Verb {
 public:
  Inspect() : Verb("inspect", "what a config, checkpoint, run, folder or file of weights stands for") {}

  void describe(CLI::App& app) override {
    app.add_option(
           "WHAT", what_,
           "a config, checkpoint, run, Hugging Face folder, config.json or .safetensors; prepared data; raw data")
        ->required();
    add_overrides(app, overrides_);
    app.add_flag("--json", json_, "print one JSON object");
    app.add_flag("--verify", verify_, "read every byte of a checkpoint, of weights or of prepared data and check it");
    add_data_words(app, data_);
  }

  int run(ProgramArguments) override {
    const InspectOptions options{json_, verify_};
    fmt::print("{}", is_data(what_, data_) ? inspect_data(what_, data_, options) : inspect(what_, overrides_, options));
    return 0;
  }

 private:
  std::string what_;
  std::vector<std::string> overrides_;
  bool json_ = false, verify_ = false;
  DataWords data_;
};

class Prepare final : public Verb {
 public:
  Prepare() : Verb("prepare", "tokenise data once, into HDF5 files to train on; called again it goes on") {}

  void describe(CLI::App& app) override {
    app.add_option("WHAT", options_.what, "a config, whose data.train it prepares; or raw data: a file, glob or folder")
        ->required();
    app.add_option("OUT", options_.out, "the folder to write")->required();
    add_overrides(app, options_.overrides);
    add_data_words(app, options_.data);
    app.add_option("--threads", options_.threads, "of each rank; without it as many as it may use");
    app.add_flag("--list", options_.list, "show counts, lengths and samples, and write nothing");
  }

  int run(ProgramArguments arguments) override {
    return on_ranks(arguments.count, arguments.words,
                    [&](const MpiRuntime&, Communicator& world) { return prepare(world, options_); });
  }

 private:
  PrepareOptions options_;
};

class Export final : public Verb {
 public:
  Export() : Verb("export", "a checkpoint as a Hugging Face folder with modelling code") {}

  void describe(CLI::App& app) override {
    app.add_option("CHECKPOINT", checkpoint_, "a checkpoint, or a run (its newest one)")->required();
    app.add_option("OUT", out_, "the folder to write")->required();
    app.add_option("--dtype", dtype_, "bf16 or fp32; without it each tensor as the checkpoint keeps it, fp64 as fp32");
  }

  int run(ProgramArguments) override {
    export_checkpoint(checkpoint_, out_, dtype_);
    fmt::print("{} is written\n", out_);
    return 0;
  }

 private:
  std::string checkpoint_, out_, dtype_;
};

class Import final : public Verb {
 public:
  Import() : Verb("import", "a checkpoint out of a folder with config.json and .safetensors") {}

  void describe(CLI::App& app) override {
    app.add_option("FOLDER", folder_, "exported by LMNet, a plain Hugging Face one, or the official implementation's")
        ->required();
    app.add_option("OUT", out_, "the checkpoint to write")->required();
    app.add_option("--preset", options_.preset, "it is the official implementation's: reference-causal, …");
    app.add_option("--topology", options_.topology, "with --preset: its vertices per level, such as 1-2-1");
  }

  int run(ProgramArguments) override {
    import_folder(folder_, out_, options_);
    fmt::print("{} is written\n", out_);
    return 0;
  }

 private:
  std::string folder_, out_;
  ImportOptions options_;
};

}  // namespace

Verbs folder_verbs() {
  Verbs verbs;
  verbs.push_back(std::make_unique<Inspect>());
  verbs.push_back(std::make_unique<Prepare>());
  verbs.push_back(std::make_unique<Export>());
  verbs.push_back(std::make_unique<Import>());
  return verbs;
}

}  // namespace lmnet
