#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "launch/verb.h"
#include "trainer/hugging_face/export.h"
#include "trainer/hugging_face/import.h"
#include "trainer/inspect.h"

namespace lmnet {
namespace {

class Inspect final : public Verb {
 public:
  Inspect() : Verb("inspect", "what a config, checkpoint, run, folder or file of weights stands for") {}

  void describe(CLI::App& app) override {
    app.add_option("WHAT", what_, "a config, checkpoint, run, Hugging Face folder, config.json or .safetensors")
        ->required();
    add_overrides(app, overrides_);
    app.add_flag("--json", json_, "print one JSON object");
    app.add_flag("--verify", verify_, "read every byte of a checkpoint or of weights and check it");
  }

  int run(ProgramArguments) override {
    fmt::print("{}", inspect(what_, overrides_, {json_, verify_}));
    return 0;
  }

 private:
  std::string what_;
  std::vector<std::string> overrides_;
  bool json_ = false, verify_ = false;
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
  verbs.push_back(std::make_unique<Export>());
  verbs.push_back(std::make_unique<Import>());
  return verbs;
}

}  // namespace lmnet
