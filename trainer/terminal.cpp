#include "trainer/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

namespace lmnet {
namespace {

/// The rest of an escape sequence such as `\x1b[31m`, which takes no room.
size_t escape_length(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  size_t end = 2;
  while (end < text.size() && !std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
  return std::min(text.size(), end + 1);
}

/// Bytes of the first sign of UTF-8 text.
size_t sign_length(std::string_view text) {
  size_t length = 1;
  while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) ++length;
  return length;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool moves_its_cursor() {
  const std::string kind = environment("TERM");
  return !kind.empty() && kind != "dumb";
}

}  // namespace

std::optional<Terminal> Terminal::find() {
  if (!moves_its_cursor()) return std::nullopt;
  const bool passed_on = std::getenv("OMPI_COMM_WORLD_RANK") != nullptr;  // mpirun gives ranks a terminal of its own
  if (!passed_on && isatty(STDOUT_FILENO)) return Terminal(STDOUT_FILENO, false);
  const std::string named = environment("LMNET_TERMINAL");
  const size_t colon = named.find(':');
  std::array<char, HOST_NAME_MAX + 1> host{};
  gethostname(host.data(), host.size() - 1);
  if (colon == std::string::npos || named.substr(0, colon) != host.data()) return std::nullopt;
  const int descriptor = open(named.c_str() + colon + 1, O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  Terminal terminal(descriptor, true);
  if (!isatty(descriptor)) return std::nullopt;
  return terminal;
}

Terminal::~Terminal() {
  if (own_) close(descriptor_);
}

Terminal::Terminal(Terminal&& other) noexcept
    : descriptor_(other.descriptor_), own_(std::exchange(other.own_, false)) {}

Terminal::Size Terminal::size() const {
  winsize window{};
  if (ioctl(descriptor_, TIOCGWINSZ, &window) != 0 || window.ws_col == 0 || window.ws_row == 0) return {};
  return {window.ws_col, window.ws_row};
}

void Terminal::write(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor_, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // it was closed: nobody looks any more
    text.remove_prefix(static_cast<size_t>(written));
  }
}

TextStyle TextStyle::of_environment() {
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (locale.empty()) locale = environment(name);
  std::ranges::transform(locale, locale.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool utf8 = locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  return {utf8, environment("NO_COLOR").empty()};
}

int columns_of(std::string_view text) {
  int columns = 0;
  while (!text.empty()) {
    if (const size_t escape = escape_length(text)) {
      text.remove_prefix(escape);
    } else {
      text.remove_prefix(sign_length(text));
      ++columns;
    }
  }
  return columns;
}

std::string fit(std::string_view text, int columns, std::string_view mark) {
  if (columns_of(text) <= columns) return std::string(text);
  std::string result;
  bool colored = false;
  for (int room = columns - 1; room > 0 && !text.empty();) {
    const size_t escape = escape_length(text), length = escape > 0 ? escape : sign_length(text);
    colored = colored || escape > 0;
    result += text.substr(0, length);
    text.remove_prefix(length);
    if (escape == 0) --room;
  }
  return result + (columns > 0 ? std::string(mark) : "") + (colored ? "\x1b[0m" : "");
}

std::string in_ascii(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kStandIns = {{{"·", "-"},
                                                                                        {"→", "->"},
                                                                                        {"←", "<-"},
                                                                                        {"…", "..."},
                                                                                        {"±", "+-"},
                                                                                        {"×", "x"},
                                                                                        {"█", "#"},
                                                                                        {"░", "."},
                                                                                        {"–", "-"},
                                                                                        {"✓", "+"},
                                                                                        {"✗", "x"},
                                                                                        {"▶", ">"}}};
  std::string result;
  while (!text.empty()) {
    const std::string_view sign = text.substr(0, sign_length(text));
    text.remove_prefix(sign.size());
    const auto known = std::ranges::find(kStandIns, sign, &std::pair<std::string_view, std::string_view>::first);
    if (sign.size() == 1 && static_cast<unsigned char>(sign.front()) < 0x80) {
      result += sign;
    } else {
      result += known == kStandIns.end() ? "?" : known->second;
    }
  }
  return result;
}

std::string LiveLines::erase() const {
  if (drawn_ == 0) return "";
  std::string up;
  for (int row = 1; row < drawn_; ++row) up += "\x1b[A";
  return "\r" + up + "\x1b[J";
}

std::string LiveLines::drawn() const {
  std::string text;
  for (const std::string& line : lines_) text += (text.empty() ? "" : "\n") + line;
  return text;
}

void LiveLines::show(std::vector<std::string> lines) {
  const Terminal::Size size = terminal_.size();
  if (lines.size() >= static_cast<size_t>(size.rows)) lines.resize(static_cast<size_t>(std::max(1, size.rows - 1)));
  for (std::string& line : lines) {
    if (!style_.unicode) line = in_ascii(line);
    // The last column is left free: some terminals wrap when it is filled.
    line = fit(line, size.columns - 1, style_.unicode ? "…" : "~");
  }
  const std::string before = erase();
  lines_ = std::move(lines);
  terminal_.write(before + drawn());
  drawn_ = static_cast<int>(lines_.size());
}

void LiveLines::print(std::string_view text) {
  std::string all = erase() + (style_.unicode ? std::string(text) : in_ascii(text));
  if (!all.ends_with('\n')) all += '\n';
  terminal_.write(all + drawn());
}

void LiveLines::clear() {
  terminal_.write(erase());
  lines_.clear();
  drawn_ = 0;
}

}  // namespace lmnet
