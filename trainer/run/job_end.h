#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "parallel/launch_environment.h"

namespace lmnet {

/// The first line that a command prints; nothing where it fails or prints none.
using AskCommand = std::function<std::optional<std::string>(const std::string& command)>;
std::optional<std::string> first_line_of(const std::string& command);

/// When the batch system ends this job, if it will.
class JobEnd {
 public:
  /// Reads SLURM_JOB_END_TIME, or asks squeue for the job that SLURM_JOB_ID names.
  explicit JobEnd(const Variables& variables, AskCommand ask = first_line_of);

  /// In seconds since the epoch; nothing outside a job, and in one without an end.
  std::optional<int64_t> time() const { return time_; }
  /// The end may have been moved since the job began.
  void ask_again();

 private:
  std::optional<int64_t> asked() const;

  std::string job_;
  AskCommand ask_;
  std::optional<int64_t> time_;
};

}  // namespace lmnet
