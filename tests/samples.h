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

/// The prompt of an Alpaca record as its authors published it, with and without input.
inline std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  const std::string context = ", paired with an input that provides further context";
  return "Below is an instruction that describes a task" + (input.empty() ? "" : context) +
         ". Write a response that appropriately completes the request.\n\n### Instruction:\n" + instruction +
         (input.empty() ? "" : "\n\n### Input:\n" + input) + "\n\n### Response:";
}

}  // namespace lmnet::test
