#include "tests/golden/case.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "model/safetensors.h"
#include "tests/samples.h"

namespace lmnet::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Both sides in fp64 do the same operations: only the order of sums may differ.
constexpr double kDoubleTolerance = 1e-9;

bool is_result(const std::string& name) {
  return name.starts_with("@out/") || name.starts_with("@grad/") || name.starts_with("@step/");
}

/// The bound of a tensor by the README: relative to the largest value, absolute for steps.
double tolerance_of(const Json& about, const std::string& name) {
  if (name.ends_with("_f64")) return kDoubleTolerance;
  std::string group = name.substr(name.find('/') + 1);
  if (name.starts_with("@step/")) group = "step";
  if (name.starts_with("@grad/")) group = name.ends_with("k_proj.bias") ? "gradients_k_bias" : "gradients";
  return about.at("tolerance").at(group).get<double>();
}

/// The exact gradient of the key part of this bias is zero: what Adam makes of its rounding says nothing.
at::Tensor without_keys(const std::string& name, const at::Tensor& value) {
  if (!name.starts_with("@step/") || !name.ends_with("attn.c_attn.bias")) return value;
  const int64_t width = value.size(0) / 3;
  return at::cat({value.narrow(0, 0, width), value.narrow(0, 2 * width, width)});
}

double largest(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : tensor.abs().max().item<double>();
}

}  // namespace

std::vector<at::ScalarType> GoldenCase::precisions() const {
  for (const auto& [name, value] : tensors)
    if (name.ends_with("_f64")) return {at::kFloat, at::kDouble};
  return {at::kFloat};
}

fs::path golden_folder() {
  return test::sample("golden-lmnet");
}

std::vector<Json> golden_lines() {
  std::vector<Json> lines;
  std::ifstream file(golden_folder() / "cases.jsonl");
  for (std::string line; std::getline(file, line);)
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(Json::parse(line));
  return lines;
}

GoldenCase load_case(const Json& line) {
  GoldenCase golden{line, {}};
  const SafetensorsFile file(golden_folder() / (line.at("name").get<std::string>() + ".safetensors"));
  for (const SafetensorsEntry& entry : file.tensors()) golden.tensors[entry.name] = file.tensor(entry).clone();
  return golden;
}

std::vector<int64_t> real_tokens(const GoldenCase& golden) {
  if (!golden.has("@in/attention_mask")) return {};
  const at::Tensor lengths = golden.tensor("@in/attention_mask").sum(1).to(at::kLong).contiguous();
  return {lengths.const_data_ptr<int64_t>(), lengths.const_data_ptr<int64_t>() + lengths.numel()};
}

void Findings::compare(const std::string& name, const at::Tensor& got) {
  compare(name, got, [&] { return tolerance_of(golden_.about, name); });
}

void Findings::compare_within(const std::string& name, const at::Tensor& got, double tolerance) {
  compare(name, got, [=] { return tolerance; });
}

void Findings::compare(const std::string& name, const at::Tensor& got, const std::function<double()>& tolerance) {
  if (!golden_.has(name)) return note(fmt::format("{}: the file has no such result", name));
  compared_.insert(name);
  const at::Tensor& expected = golden_.tensor(name);
  if (got.sizes() != expected.sizes())
    return note(fmt::format("{}: shape {} instead of {}", name, c10::str(got.sizes()), c10::str(expected.sizes())));
  if (at::isIntegralType(expected.scalar_type(), /*includeBool=*/true)) {
    if (!at::equal(got, expected)) note(fmt::format("{}: other numbers than the reference's", name));
    return;
  }
  const at::Tensor wanted = without_keys(name, expected.to(at::kDouble));
  const at::Tensor found = without_keys(name, got.detach().to(at::kDouble));
  const double largest_wanted = largest(wanted.masked_fill(wanted.isinf(), 0));
  const double scale = name.starts_with("@step/") || largest_wanted == 0 ? 1 : largest_wanted;
  const double error = largest((found - wanted).masked_fill(found == wanted, 0)) / scale;
  const double bound = tolerance();
  if (!(error <= bound)) note(fmt::format("{}: error {:.2e}, tolerance {:.0e}", name, error, bound));
}

void Findings::output(const std::string& name, const at::Tensor& got, at::ScalarType precision) {
  compare("@out/" + name, got);
  const std::string in_double = "@out/" + name + "_f64";
  if (precision == at::kDouble && golden_.has(in_double)) compare(in_double, got);
}

std::vector<std::string> Findings::all() const {
  std::vector<std::string> all = notes_;
  for (const auto& [name, value] : golden_.tensors)
    if (is_result(name) && !compared_.contains(name))
      all.push_back(fmt::format("{}: nothing was compared with it", name));
  return all;
}

void Collected::add(const std::string& ours, const ReferenceTensor& at, const at::Tensor& value) {
  const std::string name = group_ + at.name;
  if (!golden_.has(name)) {
    unknown_.push_back(fmt::format("{}: the file lacks it for our {}", name, ours));
    return;
  }
  const at::Tensor& expected = golden_.tensor(name);
  auto [found, fresh] = values_.try_emplace(name);
  if (fresh) found->second = at::full(expected.sizes(), std::nan(""), at::kDouble);
  reference_view(at, found->second).copy_(value.detach());
}

void Collected::compare(Findings& findings) const {
  for (const std::string& text : unknown_) findings.note(text);
  for (const auto& [name, value] : values_) findings.compare(name, value);
}

std::vector<std::string> differences(const GoldenCase& golden) {
  static const std::map<std::string, void (*)(const GoldenCase&, Findings&)> kKinds = {
      {"edge", run_edge},   {"gpt2", run_gpt2},     {"causal", run_causal},
      {"class", run_class}, {"greedy", run_greedy}, {"beam", run_beam}};
  const auto kind = kKinds.find(golden.kind());
  if (kind == kKinds.end()) return {fmt::format("\"{}\" is no kind of golden case", golden.kind())};
  Findings findings(golden);
  kind->second(golden, findings);
  return findings.all();
}

}  // namespace lmnet::testing
