#include "trainer/run/same_start.h"

#include <gmock/gmock.h>

#include <fstream>

#include "parallel/thread_communicator.h"
#include "tests/trainer/checkpoint/helpers.h"
#include "tests/trainer/config/helpers.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<std::string> kHosts = {"h1", "h1", "h2", "h2"};

/// The sentence that each of four ranks refuses to start with; empty where it starts.
template <class Body>
std::vector<std::string> refusals(const Body& body) {
  std::vector<std::string> said(4);
  run_ranks(4, [&](Communicator& world) {
    try {
      body(world);
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), 2);
      said[world.rank()] = error.what();
    }
  });
  return said;
}

TEST(RequireSame, ranks_that_agree_start) {
  EXPECT_THAT(refusals([](Communicator& world) {
                require_same(world, kHosts, {{"a", "1"}, {"b", "2"}}, "cure");
              }),
              Each(""));
  EXPECT_THAT(refusals([](Communicator& world) { require_same(world, kHosts, {}, "cure"); }), Each(""));
}

TEST(RequireSame, names_the_first_fact_that_differs_with_all_values_and_ranks) {
  const auto said = refusals([](Communicator& world) {
    const bool odd = world.rank() == 2;
    require_same(world, kHosts, {{"a", "1"}, {"b", odd ? "x" : "2"}, {"c", odd ? "y" : "3"}}, "give all the same");
  });
  EXPECT_THAT(said, Each("rank 0 on h1 (and 2 more) has b 2, rank 2 on h2 has x; give all the same"));
}

TEST(RequireSame, a_fact_that_only_some_have_is_named_too) {
  const auto said = refusals([](Communicator& world) {
    std::vector<Fact> facts = {{"a", "1"}};
    if (world.rank() == 3) facts.emplace_back("b", "2");
    require_same(world, kHosts, facts, "cure");
  });
  EXPECT_THAT(said, Each("rank 0 on h1 (and 2 more) has b nothing, rank 3 on h2 has 2; cure"));
}

TEST(RequireSame, ranks_without_facts_are_not_asked) {
  const auto compare = [](const std::string& of_rank_2) {
    return refusals([&](Communicator& world) {
      std::vector<Fact> facts;
      if (world.rank() == 1) facts.emplace_back("a", "1");
      if (world.rank() == 2) facts.emplace_back("a", of_rank_2);
      require_same(world, kHosts, facts, "cure");
    });
  };
  EXPECT_THAT(compare("1"), Each(""));
  EXPECT_THAT(compare("2"), Each("rank 1 on h1 has a 1, rank 2 on h2 has 2; cure"));
}

TEST(RequireSameConfig, names_the_key) {
  const auto said = refusals([](Communicator& world) {
    require_same_config(world, kHosts, testing::small({world.rank() == 3 ? "train.clip=0.5" : "train.clip=1"}));
  });
  EXPECT_THAT(said, Each(StartsWith("rank 0 on h1 (and 2 more) has train.clip 1, rank 3 on h2 has 0.5; ")));
}

TEST(RequireSameData, names_the_file) {
  const TemporaryFolder place;
  std::ofstream(place / "a.txt") << "text";
  const auto read = [&](const std::string& path_of_rank_2) {
    return refusals([&](Communicator& world) {
      const std::string path = world.rank() == 2 ? path_of_rank_2 : (place / "a.txt").string();
      const Config config = testing::small({"data.train[0]={path: " + path + ", format: text}"});
      require_same_data(world, kHosts, config, /*reads=*/world.rank() % 2 == 0);
    });
  };
  EXPECT_THAT(read((place / "a.txt").string()), Each(""));
  EXPECT_THAT(read((place / "missing.txt").string()),
              Each(HasSubstr("a.txt with 4 bytes, rank 2 on h2 has nothing; ")));
}

}  // namespace
}  // namespace lmnet
