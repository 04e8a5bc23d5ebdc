#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace lmnet {

/// One rank's log file (glog), from its start to its end; one a process. A file that has grown to `largest` bytes goes
/// on as `NAME.1.log`, what was there as `NAME.2.log` and so on; `kept` of them stay. glog's macros clash with
/// LibTorch's, so that it is known in log.cpp only.
class Log {
 public:
  static constexpr uint64_t kLargest = uint64_t{64} << 20;
  static constexpr int kKept = 4;

  /// Goes on in a file that is there.
  explicit Log(std::filesystem::path file, uint64_t largest = kLargest, int kept = kKept);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void info(std::string_view text);
  void error(std::string_view text);

 private:
  /// Makes room for a text of so many bytes.
  void rotate(size_t bytes);

  std::filesystem::path file_;
  uint64_t largest_, size_ = 0;
  int kept_;
};

}  // namespace lmnet
