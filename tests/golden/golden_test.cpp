#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tests/golden/case.h"

/// Every line of cases.jsonl is a test `golden.NAME`, known only when the program runs: cases are added by putting
/// their files into the folder.
namespace lmnet::testing {
namespace {

class GoldenTest : public ::testing::Test {
 public:
  explicit GoldenTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

void add_test(const std::string& name, const std::function<void()>& body) {
  ::testing::RegisterTest("golden", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [body]() -> ::testing::Test* { return new GoldenTest(body); });
}

bool needs_adapters(const nlohmann::json& line) {
  return line.value("train", "") == "lora";
}

void agrees(const nlohmann::json& line) {
  if (needs_adapters(line)) GTEST_SKIP() << "adapters (train: lora) are not built";
  for (const std::string& difference : differences(load_case(line))) ADD_FAILURE() << difference;
}

/// The tests above could also pass because they look at nothing: one case of each kind, with one weight a little other.
void notices_a_changed_weight(const std::vector<nlohmann::json>& lines) {
  std::set<std::string> seen;
  for (const nlohmann::json& line : lines) {
    if (needs_adapters(line) || !seen.insert(line.at("kind")).second) continue;
    GoldenCase golden = load_case(line);
    auto weight = golden.tensors.lower_bound("ws.0.");  // of the first edge; of the edge itself there is no `ws`
    if (weight == golden.tensors.end()) weight = golden.tensors.lower_bound("a");
    while (weight != golden.tensors.end() && weight->second.dim() < 2) ++weight;
    ASSERT_NE(weight, golden.tensors.end()) << line.at("name") << " has no matrix";
    weight->second.mul_(1.01);
    EXPECT_FALSE(differences(golden).empty()) << line.at("name") << " with another " << weight->first;
  }
}

void notices_what_was_not_compared(const std::vector<nlohmann::json>& lines) {
  const auto line = std::find_if_not(lines.begin(), lines.end(), needs_adapters);
  if (line == lines.end()) GTEST_SKIP() << "only cases with adapters";
  GoldenCase golden = load_case(*line);
  golden.tensors["@grad/of.nothing"] = golden.tensors.begin()->second;
  EXPECT_EQ(differences(golden), std::vector<std::string>{"@grad/of.nothing: nothing was compared with it"});
}

void add_tests() {
  const std::vector<nlohmann::json> lines = golden_lines();
  if (lines.empty()) {
    add_test("cases", [] { GTEST_SKIP() << "no cases in " << golden_folder() << "; set LMNET_TEST_DATA"; });
    return;
  }
  for (const nlohmann::json& line : lines) add_test(line.at("name"), [line] { agrees(line); });
  add_test("notices_a_changed_weight", [lines] { notices_a_changed_weight(lines); });
  add_test("notices_what_was_not_compared", [lines] { notices_what_was_not_compared(lines); });
}

}  // namespace
}  // namespace lmnet::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);  // the networks are far too small for more
  lmnet::testing::add_tests();
  return RUN_ALL_TESTS();
}
