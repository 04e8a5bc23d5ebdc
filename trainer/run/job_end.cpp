#include "trainer/run/job_end.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <memory>
#include <utility>

namespace lmnet {
namespace {

std::optional<int64_t> number(const std::string& text) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size() && value > 0 ? std::optional(value) : std::nullopt;
}

std::string text_of(const char* value) {
  return value == nullptr ? "" : value;
}

}  // namespace

std::optional<std::string> first_line_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  if (!pipe) return std::nullopt;
  std::array<char, 256> line{};
  if (std::fgets(line.data(), line.size(), pipe.get()) == nullptr) return std::nullopt;
  std::string text(line.data());
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? std::nullopt : std::optional(text);
}

JobEnd::JobEnd(const Variables& variables, AskCommand ask)
    : job_(text_of(variables("SLURM_JOB_ID"))), ask_(std::move(ask)) {
  if (!number(job_)) job_.clear();
  // Of an array's last task it is the number of the whole array.
  const std::string array = text_of(variables("SLURM_ARRAY_JOB_ID")), task = text_of(variables("SLURM_ARRAY_TASK_ID"));
  if (!job_.empty() && number(array) && !task.empty()) job_ = array + "_" + task;
  if (!job_.empty()) time_ = number(text_of(variables("SLURM_JOB_END_TIME")));
  if (!time_) time_ = asked();
}

void JobEnd::ask_again() {
  if (const auto time = asked()) time_ = time;
}

std::optional<int64_t> JobEnd::asked() const {
  if (job_.empty()) return std::nullopt;
  // Local time without a zone; a job without an end has a word there.
  const auto line = ask_("timeout 10 squeue --noheader --jobs=" + job_ + " --format=%e 2>/dev/null");
  std::tm local{};
  local.tm_isdst = -1;
  if (!line || ::strptime(line->c_str(), "%Y-%m-%dT%H:%M:%S", &local) == nullptr) return std::nullopt;
  return ::mktime(&local);
}

}  // namespace lmnet
