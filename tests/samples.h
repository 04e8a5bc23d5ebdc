#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

/// Where the tests find what is not theirs.
namespace lmnet::test {

/// The folder of the project; set by tests/CMakeLists.txt.
inline std::filesystem::path repository() {
  return LMNET_REPOSITORY;
}

/// A sample: under LMNET_TEST_DATA, or ../shared/data beside the repository.
inline std::filesystem::path sample(const std::string& name) {
  const char* folder = std::getenv("LMNET_TEST_DATA");
  return (folder ? std::filesystem::path(folder) : repository() / "../shared/data") / name;
}

}  // namespace lmnet::test
