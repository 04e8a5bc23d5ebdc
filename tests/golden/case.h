#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "trainer/hugging_face/reference_names.h"

/// Golden cases: what the official implementation computed on small random networks, in a folder `golden-lmnet` whose
/// README says what each kind of case holds.
namespace lmnet::testing {

/// One case: its line in cases.jsonl and the tensors of its file, by the reference's names (`@in/…`, `@out/…`,
/// `@grad/…` and `@step/…` are no weights).
struct GoldenCase {
  nlohmann::json about;
  std::map<std::string, at::Tensor> tensors;

  std::string kind() const { return about.at("kind"); }
  bool has(const std::string& name) const { return tensors.contains(name); }
  const at::Tensor& tensor(const std::string& name) const { return tensors.at(name); }
  /// fp32, and fp64 where the file holds results in fp64 too.
  std::vector<at::ScalarType> precisions() const;
};

/// `golden-lmnet` under LMNET_TEST_DATA, or under ../shared/data beside the repository.
std::filesystem::path golden_folder();
/// The lines of its cases.jsonl; none without the folder.
std::vector<nlohmann::json> golden_lines();
/// Reads the file of a line's case.
GoldenCase load_case(const nlohmann::json& line);

/// How many tokens of each row are real by `@in/attention_mask`, which pads on the right; empty without one.
std::vector<int64_t> real_tokens(const GoldenCase& golden);

/// What a run of a case got that its file has otherwise, and what of the file was not looked at.
class Findings {
 public:
  explicit Findings(const GoldenCase& golden) : golden_(golden) {}

  /// Compares with the tensor `name` by the tolerance of its group; integers must be equal.
  void compare(const std::string& name, const at::Tensor& got);
  /// The same by a bound of our own where the case gives none.
  void compare_within(const std::string& name, const at::Tensor& got, double tolerance);
  /// Compares with `@out/NAME`, and in fp64 also with `@out/NAME_f64`.
  void output(const std::string& name, const at::Tensor& got, at::ScalarType precision);
  void note(const std::string& text) { notes_.push_back(text); }
  /// Everything noted; a result of the file with which nothing was compared is noted too.
  std::vector<std::string> all() const;

 private:
  void compare(const std::string& name, const at::Tensor& got, const std::function<double()>& tolerance);

  const GoldenCase& golden_;
  std::set<std::string> compared_;
  std::vector<std::string> notes_;
};

/// Values of our parameters put together to the reference's tensors, of which each of ours may be a part.
class Collected {
 public:
  /// `group`: `@grad/` or `@step/`.
  Collected(const GoldenCase& golden, std::string group) : golden_(golden), group_(std::move(group)) {}
  void add(const std::string& ours, const ReferenceTensor& at, const at::Tensor& value);
  /// A parameter of ours that the file does not have is noted, and what none of ours covers stays NaN.
  void compare(Findings& findings) const;

 private:
  const GoldenCase& golden_;
  std::string group_;
  std::map<std::string, at::Tensor> values_;
  std::vector<std::string> unknown_;
};

/// What differs from the file when the case is run here; empty = all within tolerance. By kind:
std::vector<std::string> differences(const GoldenCase& golden);
void run_edge(const GoldenCase& golden, Findings& findings);    // edge
void run_gpt2(const GoldenCase& golden, Findings& findings);    // gpt2
void run_causal(const GoldenCase& golden, Findings& findings);  // causal
void run_class(const GoldenCase& golden, Findings& findings);   // class
void run_greedy(const GoldenCase& golden, Findings& findings);  // greedy
void run_beam(const GoldenCase& golden, Findings& findings);    // beam

}  // namespace lmnet::testing
