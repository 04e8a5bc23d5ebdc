// What a checkpoint costs a run: `checkpoint_benchmark FOLDER [ROUNDS [HIDDEN [AHEAD]]]`. In each round, in turn:
// updates alone; the same number with a save in flight; a plain blocking write of the same bytes (one file, write and
// fsync); and `dd conv=fsync` of them (some disks take zeros for nothing). Prints the medians over the rounds, with the
// share of the plain write that the loop loses, and the memory beyond the peak of the updates alone.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "parallel/thread_communicator.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/file_io.h"
#include "trainer/clock.h"
#include "trainer/saving/checkpointer.h"

namespace lmnet {
namespace {

namespace fs = std::filesystem;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return seconds_since(start);
}

/// MiB of this process, the most since the last reset.
double peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      double kib = 0;
      status >> kib;
      return kib / 1024;
    }
  return 0;
}
void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

/// A network on one rank, and its run.
class Training {
 public:
  Training(int64_t hidden, int64_t ahead, fs::path folder)
      : alone_(make_thread_communicators(1)), mesh_(*alone_.front(), 1) {
    BackboneConfig backbone;
    backbone.hidden_size = hidden;
    backbone.intermediate_size = 4 * hidden;
    backbone.blocks = 6;
    backbone.heads = 8;
    backbone.kv_heads = 8;
    backbone.head_width = hidden / 8;
    backbone.vocabulary = 8192;
    engine_ =
        std::make_unique<Engine>(NetworkShape(backbone), Graph::layered("1-2-1"), at::kFloat, OptimizerConfig{}, mesh_);
    engine_->begin_stage({.edges = true, .vertices = true, .embeddings = true});
    engine_->initialize(1);
    CheckpointConfig config;
    config.keep = 1;
    config.ahead = ahead;
    checkpointer_ = std::make_unique<Checkpointer>(*engine_, config, std::move(folder), CheckpointTexts{"{}\n"},
                                                   [this](const std::string& text) {
                                                     if (text.starts_with("warning")) fmt::print("{}\n", text);
                                                     known_ = true;
                                                   });
  }

  void updates(int count) {
    for (int i = 0; i < count; ++i) {
      const at::Tensor tokens = at::randint(0, 8192, {2, 129}, at::kLong);
      const Sequence batch{tokens.narrow(1, 0, 128).contiguous(), tokens.narrow(1, 1, 128).contiguous(),
                           at::ones({2, 128}, at::kBool)};
      UpdateOptions options;
      for (const Parameter::Part part :
           {Parameter::Part::edges, Parameter::Part::vertices, Parameter::Part::embeddings, Parameter::Part::head})
        options.lr[part] = 1e-6;
      options.before_change = [this] { checkpointer_->before_change(); };
      ++state_.run.updates;
      const UpdateResult result =
          engine_->gradients(batch, options.micro_batch, /*stop=*/false, options.loss, checkpointer_->vote());
      checkpointer_->take(result.save);
      checkpointer_->hold(state_.run.updates);
      engine_->apply(result, options);
    }
  }
  void begin_save() {
    known_ = false;
    checkpointer_->save(state_, {}, "all");
  }
  bool saved() const { return known_; }
  void settle() { checkpointer_->save_last(state_, {}, "all"); }
  int64_t update() const { return state_.run.updates; }

 private:
  std::vector<std::unique_ptr<Communicator>> alone_;
  Mesh mesh_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Checkpointer> checkpointer_;
  RunState state_;
  bool known_ = true;
};

/// Of all its files, one after the other.
std::vector<std::byte> content_of(const fs::path& checkpoint) {
  std::vector<std::byte> content;
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const FileDescriptor file(entry.path(), O_RDONLY);
    const size_t before = content.size();
    content.resize(before + file.size());
    file.read(std::span(content).subspan(before), 0);
  }
  return content;
}

void plain_write(const fs::path& file, const std::vector<std::byte>& bytes) {
  FileDescriptor out(file, O_WRONLY | O_CREAT | O_TRUNC);
  out.write(bytes, 0);
  out.sync();
}

int run(const fs::path& folder, int rounds, int64_t hidden, int64_t ahead) {
  constexpr int kUpdates = 3;  // enough for a save to be complete and checked
  Training training(hidden, ahead, folder / "checkpoints");
  training.updates(2);
  training.begin_save();
  training.settle();
  const uint64_t bytes = content_of(folder / "checkpoints" / folder_name(training.update())).size();
  const double gib = static_cast<double>(bytes) / (1 << 30);
  std::vector<double> alone, beside, written, save, plain, dd, more_memory;
  for (int round = 0; round < rounds; ++round) {
    reset_peak();
    alone.push_back(seconds_of([&] { training.updates(kUpdates); }));
    const double peak_alone = peak_memory();
    reset_peak();
    beside.push_back(seconds_of([&] {
      training.begin_save();
      training.updates(kUpdates);
    }));
    if (!training.saved()) fmt::print("the save took longer than {} updates\n", kUpdates);
    more_memory.push_back((peak_memory() - peak_alone) / static_cast<double>(bytes >> 20));
    training.updates(1);
    save.push_back(seconds_of([&] {
      const auto start = Clock::now();
      const fs::path complete = folder / "checkpoints" / folder_name(training.update());
      const std::jthread watch([&] {
        while (!fs::exists(complete)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        written.push_back(seconds_since(start));
      });
      training.settle();
    }));
    // What the checkpoint consists of, in memory: /dev/shm is no disk.
    const std::vector<std::byte> content = content_of(folder / "checkpoints" / folder_name(training.update()));
    const fs::path file = folder / "plain", source = fs::path("/dev/shm") / fmt::format("plain-{}", ::getpid());
    plain.push_back(seconds_of([&] { plain_write(file, content); }));
    fs::remove(file);
    plain_write(source, content);
    const std::string command =
        fmt::format("dd if={} of={} bs=1M conv=fsync status=none", source.string(), file.string());
    dd.push_back(seconds_of([&] {
      if (std::system(command.c_str()) != 0) fmt::print("dd failed\n");
    }));
    fs::remove(file);
    fs::remove(source);
  }
  std::vector<double> lost, speed;
  for (size_t i = 0; i < alone.size(); ++i) {
    lost.push_back(beside[i] - alone[i]);
    speed.push_back(dd[i] / written[i]);
  }
  fmt::print("{:.2f} GiB, {} updates of {:.2f} s: {:.2f} s alone, {:.2f} s with a save in flight\n", gib, kUpdates,
             median(alone) / kUpdates, median(alone), median(beside));
  fmt::print(
      "plain blocking write {:.2f} s, dd {:.2f} s; a save that is waited for is complete in {:.2f} s, read again "
      "and checked in {:.2f} s\n",
      median(plain), median(dd), median(written), median(save));
  fmt::print(
      "the loop loses {:.0f} % of a plain write; a save is written at {:.0f} % of dd's speed; it takes {:.2f} "
      "times its bytes\n",
      100 * median(lost) / median(plain), 100 * median(speed), median(more_memory));
  for (size_t i = 0; i < alone.size(); ++i)
    fmt::print(
        "  round {}: alone {:.2f} beside {:.2f} plain {:.2f} dd {:.2f} written {:.2f} save {:.2f} memory {:.2f}\n",
        i + 1, alone[i], beside[i], plain[i], dd[i], written[i], save[i], more_memory[i]);
  return 0;
}

}  // namespace
}  // namespace lmnet

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print("checkpoint_benchmark FOLDER [ROUNDS [HIDDEN [AHEAD]]]\n");
    return 2;
  }
  const std::filesystem::path folder = std::filesystem::path(argv[1]) / "checkpoint-benchmark";
  const int code = lmnet::run(folder, argc > 2 ? std::atoi(argv[2]) : 5, argc > 3 ? std::atoi(argv[3]) : 512,
                              argc > 4 ? std::atoi(argv[4]) : 0);
  std::filesystem::remove_all(folder);
  return code;
}
