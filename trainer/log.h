#pragma once
#include <filesystem>
#include <string_view>

namespace lmnet {

/// One rank's log file (glog), from its start to its end; one a process. glog's macros clash with LibTorch's, so that
/// it is known in log.cpp only.
class Log {
 public:
  /// Without a file, nothing is logged.
  explicit Log(const std::filesystem::path& file);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void info(std::string_view text) const;
  void error(std::string_view text) const;
};

}  // namespace lmnet
