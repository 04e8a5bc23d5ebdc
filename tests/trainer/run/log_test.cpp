#include "trainer/run/log.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace lmnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

std::string content(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

TEST(Log, goes_on_in_its_file_and_begins_another_when_that_is_full) {
  const fs::path folder = fs::temp_directory_path() / ("log_test-" + std::to_string(getpid()));
  fs::create_directories(folder);
  const fs::path file = folder / "rank-000.log";
  {
    Log log(file, 2000, 2);
    log.info("the first line");
  }
  {
    Log log(file, 2000, 2);
    log.info("after a restart");
    EXPECT_THAT(content(file), HasSubstr("the first line"));
    EXPECT_THAT(content(file), HasSubstr("after a restart"));
    for (int i = 0; i < 60; ++i) log.info("line " + std::to_string(i) + " " + std::string(60, '.'));
    log.error("the last line");
  }
  EXPECT_THAT(content(file), HasSubstr("the last line"));
  EXPECT_THAT(content(file), Not(HasSubstr("line 0 ")));
  EXPECT_LT(fs::file_size(file), 4000u);
  EXPECT_TRUE(fs::exists(folder / "rank-000.1.log"));
  EXPECT_TRUE(fs::exists(folder / "rank-000.2.log"));
  EXPECT_FALSE(fs::exists(folder / "rank-000.3.log"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace lmnet
