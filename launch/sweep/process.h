#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lmnet::sweep {

/// What a program is started with.
struct Command {
  std::vector<std::string> words;
  std::vector<std::pair<std::string, std::string>> environment;  // beside that of this process
  std::filesystem::path log;                                     // gets what it prints, at its end
  int inherited = -1;                                            // a file that it and its children keep open
};

/// A program that was started and belongs to this process: in a process group of its own, so that a Ctrl-C reaches it
/// only through signal(), and told TERM by the kernel when this process dies, however that happens. To be started on
/// the thread that lives as long as the process.
class Process {
 public:
  /// Throws ConfigError when the program cannot be run, CheckpointError when the log cannot be written.
  explicit Process(const Command& command);
  /// Tells what is still running to end (TERM: a run saves and stops) and waits for it.
  ~Process();
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Process& operator=(Process&&) = delete;

  pid_t pid() const { return pid_; }
  /// The exit code once it has ended, 128 + signal when one killed it.
  std::optional<int> poll();
  void signal(int number) const;

 private:
  pid_t pid_ = 0;  // 0 = reaped
};

/// The program of this process.
std::filesystem::path own_program();

/// A script of launch/, such as `mpirun`, of the checkout that this program was built in. Throws ConfigError where
/// there is none.
std::filesystem::path launch_script(const std::string& name);

/// What a program prints to its standard output, with its exit code; standard error is printed with it.
std::pair<int, std::string> output_of(const std::vector<std::string>& words);

/// The words of `text` as a shell takes them: `--time=4:00:00 --comment="two words"`. Throws ConfigError with what the
/// shell says to a text that it refuses.
std::vector<std::string> shell_words(const std::string& text);

/// A word as a shell reads it, in quotes.
std::string quoted(const std::string& word);
/// Words as people write them for a shell: in quotes only where they must be.
std::string shell_text(const std::vector<std::string>& words);

}  // namespace lmnet::sweep
