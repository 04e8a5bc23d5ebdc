#pragma once
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace lmnet::sweep {

/// The right to start runs of one sweep, held by one process and by what it starts (they inherit the open file): as
/// long as one of them lives, nobody else gets it. After a sweep was killed its runs save and stop, told so by the
/// kernel; one whose launcher was killed too is told here.
class Lock {
 public:
  /// `file` is made where it is not there. Waits for runs that a killed sweep left behind, saying so once through
  /// `tell`; `give_up` ends the wait. Throws ConfigError that names the process when another sweep is at work, or when
  /// the wait was given up.
  Lock(const std::filesystem::path& file, const std::function<void(const std::string&)>& tell,
       const std::function<bool()>& give_up);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  /// For the programs that are started under it.
  int descriptor() const { return file_; }

  /// Processes of this machine that hold the file open, this one left out.
  static std::vector<pid_t> holders(const std::filesystem::path& file);

 private:
  int file_ = -1;
};

}  // namespace lmnet::sweep
