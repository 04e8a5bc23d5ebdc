#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "tests/samples.h"
#include "trainer/config/config.h"

namespace lmnet {
namespace {

TEST(ConfigReference, is_the_page_in_docs) {
  const auto page = test::repository() / "docs/config.md";
  std::ostringstream text;
  text << std::ifstream(page).rdbuf();
  EXPECT_TRUE(text.str() == config_markdown())
      << page
      << " is not what the keys say now; write it anew: build/release/lmnet help config --markdown >docs/config.md";
}

}  // namespace
}  // namespace lmnet
