#include "trainer/saving/checkpoint_choice.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

#include "parallel/thread_communicator.h"
#include "tests/trainer/agreement.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/saving/checkpointer.h"
#include "trainer/together.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// Checkpoints of two ranks with ZeRO 1, of updates 1, 2, …
class CheckpointChoice : public ::testing::Test {
 protected:
  void save(int64_t updates) const {
    const Case run{.name = "", .topology = "1-2-1", .dtype = at::kBFloat16};
    run_ranks(2, [&](Communicator& world) {
      Mesh mesh(world, 1);
      Engine engine(shape_of(run), graph_of(run), run.dtype, OptimizerConfig{}, mesh);
      initialize(engine);
      engine.begin_stage(run.stages.front().trains);
      for (int64_t update = 1; update <= updates; ++update) {
        engine.update(rows_of_replica(global_batch(run, static_cast<int>(update)), mesh.dp_rank, mesh.dp_size),
                      {.lr = rates(run.stages.front().trains), .micro_batch = run.micro_batch});
        save_checkpoint(dir(), engine, RunState{.run = {update, update}}, {}, fmt::format("# {}\n", update), "all");
      }
    });
  }
  fs::path dir() const { return folder_ / "checkpoints"; }
  fs::path step(int64_t update) const { return dir() / folder_name(update); }
  std::string damage_of(int64_t update) const {
    const auto alone = make_thread_communicators(1);
    return damage_of_checkpoint(*alone.front(), step(update));
  }
  ResumeChoice choose() const {
    const auto alone = make_thread_communicators(1);
    return choose_checkpoint(*alone.front(), dir());
  }
  std::vector<fs::path> files_of(int64_t update) const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(step(update))) files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
  }

  TemporaryFolder folder_;
};

TEST_F(CheckpointChoice, is_empty_when_there_is_none) {
  EXPECT_FALSE(choose().checkpoint);
}

TEST_F(CheckpointChoice, passes_damaged_newer_ones_over_and_names_them) {
  save(4);
  damage(step(2) / "optimizer.00000.h5", 8);
  cut_off(step(3) / "manifest.json", 5);
  fs::remove(step(4) / "manifest.json");
  const ResumeChoice choice = choose();
  EXPECT_EQ(choice.checkpoint, step(1));
  EXPECT_THAT(choice.damaged, ElementsAre(HasSubstr("step-000000004"), HasSubstr("step-000000003/manifest.json"),
                                          HasSubstr("step-000000002/optimizer.00000.h5")));
}

TEST_F(CheckpointChoice, is_the_same_on_all_ranks_which_share_the_reading) {
  save(2);
  damage(step(2) / "optimizer.00000.h5", 8);
  damage(step(2) / "state.json", 8);
  run_ranks(3, [&](Communicator& world) {
    const ResumeChoice choice = choose_checkpoint(world, dir());
    EXPECT_EQ(choice.checkpoint, step(1));
    EXPECT_THAT(choice.damaged, ElementsAre(AllOf(HasSubstr("optimizer.00000.h5"), HasSubstr("state.json"))));
  });
}

TEST_F(CheckpointChoice, refuses_to_begin_anew_when_all_are_damaged) {
  save(2);
  for (const int64_t update : {1, 2}) cut_off(step(update) / "edges.00000.h5", 8);
  try {
    choose();
    FAIL() << "no AgreedError";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), 3);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr(dir().string()), HasSubstr("step-000000002/edges.00000.h5: 8 bytes missing"),
                      HasSubstr("step-000000001/edges.00000.h5")));
  }
}

TEST_F(CheckpointChoice, brings_back_one_whose_replacement_was_killed) {
  save(1);
  fs::rename(step(1), dir() / ".step-000000001.old");
  EXPECT_EQ(choose().checkpoint, step(1));
}

/// Every file in every way: what is found, by name, and what is taken instead.
TEST_F(CheckpointChoice, finds_every_file_that_is_cut_changed_removed_or_of_another_step) {
  save(2);
  ASSERT_EQ(damage_of(2), "");
  constexpr size_t places = 20;
  size_t trials = 0;
  for (const fs::path& file : files_of(2)) {
    const std::string name = file.filename().string(), whole = contents(file);
    const auto expect_found = [&](const std::string& how) {
      ++trials;
      EXPECT_THAT(damage_of(2), HasSubstr(file.string())) << name << " " << how;
    };
    for (size_t place = 0; place < places; ++place) {
      write(file, whole.substr(0, whole.size() * place / places));
      expect_found(fmt::format("cut at {} of {}", place, places));
      std::string changed = whole;
      changed[whole.size() * place / places] ^= static_cast<char>(1 << (place % 8));
      write(file, changed);
      expect_found(fmt::format("changed at {} of {}", place, places));
    }
    EXPECT_EQ(choose().checkpoint, step(1)) << name;
    fs::remove(file);
    ++trials;
    EXPECT_THAT(damage_of(2), HasSubstr(name == "manifest.json" ? "manifest.json is missing" : file.string()));
    EXPECT_EQ(choose().checkpoint, step(1)) << name;
    write(file, contents(step(1) / name));
    expect_found("of step 1");
    EXPECT_EQ(choose().checkpoint, step(1)) << name;
    write(file, whole);
  }
  EXPECT_EQ(damage_of(2), "");
  EXPECT_GE(trials, 42U * 9);
}

/// The same without a look at whole files, as `generate` reads: what is read is right, or an error names the file.
TEST_F(CheckpointChoice, never_gives_a_damaged_tensor_away_even_unverified) {
  save(2);
  std::map<std::string, at::Tensor> values;
  const CheckpointReader reader(step(2));
  for (const auto& [name, tensor] : reader.manifest().tensors) values[name] = reader.read(name);
  size_t found = 0;
  for (const fs::path& file : files_of(2)) {
    if (file.extension() != ".h5") continue;
    const std::string whole = contents(file);
    for (size_t place = 0; place < whole.size(); place += whole.size() / 60 + 1) {
      std::string changed = whole;
      changed[place] ^= 4;
      write(file, changed);
      const CheckpointReader damaged(step(2));
      for (const auto& [name, tensor] : damaged.manifest().tensors) {
        try {
          EXPECT_TRUE(at::equal(damaged.read(name), values.at(name))) << file << " " << place << " " << name;
        } catch (const CheckpointError& error) {
          EXPECT_THAT(error.what(), HasSubstr(file.string()));
          ++found;
        }
      }
    }
    write(file, whole);
  }
  EXPECT_GT(found, 50U);
}

}  // namespace
}  // namespace lmnet::testing
