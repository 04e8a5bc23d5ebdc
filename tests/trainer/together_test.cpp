#include "trainer/together.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "parallel/thread_communicator.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

TEST(Sentence, of_a_file_that_the_system_refuses_names_it) {
  std::string said;
  try {
    std::filesystem::rename("no/such", "no/other");
  } catch (const std::exception& error) {
    said = sentence(error);
    EXPECT_EQ(exit_code(error), 3);
  }
  EXPECT_EQ(said, "no/such: No such file or directory");
}

TEST(GatherJson, brings_values_of_any_text_to_all_ranks) {
  run_ranks(3, [](Communicator& world) {
    const auto all = gather_json(world, Json{{"rank", world.rank()}, {"text", std::string(world.rank(), '\xff')}});
    ASSERT_EQ(all.size(), 3U);
    for (int rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(all[rank]["rank"], rank);
      EXPECT_EQ(all[rank]["text"].get<std::string>(), std::string(rank, '\xff'));
    }
  });
}

}  // namespace
}  // namespace lmnet
