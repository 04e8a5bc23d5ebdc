#include "launch/sweep/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "model/graph/errors.h"
#include "trainer/checkpoint/file_io.h"

namespace lmnet::sweep {
namespace {

namespace fs = std::filesystem;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [other, value] : command.environment) replaced = replaced || other == name;
    if (!replaced) result.push_back(text);
  }
  for (const auto& [name, value] : command.environment) result.push_back(name + "=" + value);
  return result;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// In the child, between fork and exec: only what is safe there. What fails is told through `report`.
struct ChildSetup {
  pid_t parent;
  int log, null, inherited, report;
  char* const* words;
  char* const* environment;

  [[noreturn]] void run() const {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // it died before the kernel was told
    for (int number : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE}) std::signal(number, SIG_DFL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (inherited >= 0) fcntl(inherited, F_SETFD, 0);
    execvpe(words[0], words, environment);
    const int error = errno;
    [[maybe_unused]] const ssize_t told = write(report, &error, sizeof error);
    _exit(127);
  }
};

int open_file(const fs::path& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC, 0666);
  if (file < 0) throw_file_error("open", path, errno);
  return file;
}

}  // namespace

Process::Process(const Command& command) {
  std::vector<std::string> words = command.words, environment = environment_of(command);
  const std::vector<char*> word_pointers = pointers(words), environment_pointers = pointers(environment);
  const int log = open_file(command.log, O_WRONLY | O_CREAT | O_APPEND);
  const int null = open_file("/dev/null", O_RDONLY);
  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0) throw_file_error("open a pipe for", command.words.front(), errno);
  const ChildSetup child{
      getpid(), log, null, command.inherited, report[1], word_pointers.data(), environment_pointers.data()};
  pid_ = fork();
  if (pid_ == 0) child.run();
  const int fork_error = errno;
  close(log);
  close(null);
  close(report[1]);
  int error = pid_ < 0 ? fork_error : 0;
  if (pid_ > 0 && read(report[0], &error, sizeof error) != sizeof error) error = 0;  // exec has closed it
  close(report[0]);
  if (error == 0) return;
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  pid_ = 0;
  throw ConfigError(fmt::format("{} cannot be run: {}", command.words.front(), std::strerror(error)));
}

Process::~Process() {
  if (pid_ <= 0) return;
  signal(SIGTERM);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> Process::poll() {
  int status = 0;
  if (pid_ <= 0 || waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  return exit_code_of(status);
}

void Process::signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

fs::path own_program() {
  return fs::read_symlink("/proc/self/exe");
}

fs::path launch_script(const std::string& name) {
  const fs::path program = own_program();
  for (fs::path folder = program.parent_path();; folder = folder.parent_path()) {
    if (fs::exists(folder / "launch" / name)) return folder / "launch" / name;
    if (folder == folder.root_path()) break;
  }
  throw ConfigError(
      fmt::format("launch/{} is in no folder above {}: run the program where it was built, or put the "
                  "folder launch beside it",
                  name, program.string()));
}

std::pair<int, std::string> output_of(const std::vector<std::string>& words) {
  std::vector<std::string> copy = words;
  const std::vector<char*> word_pointers = pointers(copy);
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw_file_error("open a pipe for", words.front(), errno);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execvp(word_pointers[0], word_pointers.data());
    _exit(127);
  }
  close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  ssize_t size = 0;
  while ((size = read(ends[0], buffer.data(), buffer.size())) > 0 || (size < 0 && errno == EINTR))
    if (size > 0) text.append(buffer.data(), static_cast<size_t>(size));
  close(ends[0]);
  int status = 127 << 8;
  if (child > 0)
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  return {exit_code_of(status), text};
}

std::vector<std::string> shell_words(const std::string& text) {
  // What the shell has to say of its locale and the like comes before the first zero.
  const std::string script = "set -- " + text + "\nprintf '\\0'; for word; do printf '%s\\0' \"$word\"; done";
  const auto [code, output] = output_of({"bash", "-c", script});
  if (code != 0) throw ConfigError(fmt::format("the options {} cannot be read: {}", text, output));
  std::vector<std::string> words;
  for (size_t begin = output.find('\0') + 1; begin < output.size(); begin += words.back().size() + 1)
    words.emplace_back(output.c_str() + begin);
  return words;
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

std::string shell_text(const std::vector<std::string>& words) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:=,@%";
  std::string text;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && word.find_first_not_of(kPlain) == word.npos;
    text += (text.empty() ? "" : " ") + (plain ? word : quoted(word));
  }
  return text;
}

}  // namespace lmnet::sweep
