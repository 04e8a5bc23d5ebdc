#include "launch/run_metrics.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace lmnet {

std::string tail_of(const std::filesystem::path& file) {
  constexpr std::streamoff kEnough = 16 << 10;
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return "";
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kEnough));
  std::string text;
  if (size > kEnough) std::getline(in, text);  // the rest of a line
  text.assign(std::istreambuf_iterator<char>(in), {});
  return text;
}

RunMetrics newest_metrics(const std::filesystem::path& run) {
  RunMetrics metrics;
  std::istringstream lines(tail_of(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const auto take = [&](const char* key, std::optional<double>& value) {
      if (const auto found = json.find(key); found != json.end() && found->is_number()) value = found->get<double>();
    };
    metrics.update = json.value("update", metrics.update);
    take("loss", metrics.loss);
    take("validation_loss", metrics.validation_loss);
    take("tokens_per_s", metrics.tokens_per_s);
    take("seconds", metrics.seconds);
  }
  return metrics;
}

}  // namespace lmnet
