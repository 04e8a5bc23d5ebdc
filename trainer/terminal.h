#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// A terminal that people look at. What is written to it is for eyes only: it stands in no file.
class Terminal {
 public:
  /// Standard output, if it is a terminal that can move its cursor and not one that mpirun made; else the one that
  /// LMNET_TERMINAL names as `HOST:/dev/pts/3` (launch/mpirun sets it: what ranks print is passed on), if this is the
  /// host. Nothing where neither is.
  static std::optional<Terminal> find();
  /// `descriptor` is a terminal, or stands for one of 80 × 24 in tests; closed at the end if `own`.
  Terminal(int descriptor, bool own) : descriptor_(descriptor), own_(own) {}
  ~Terminal();
  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;

  struct Size {
    int columns = 80, rows = 24;
  };
  Size size() const;  // at the moment
  void write(std::string_view text) const;

 private:
  int descriptor_;
  bool own_;
};

/// What the environment asks of text for people.
struct TextStyle {
  bool unicode = true;  // the locale is one of UTF-8
  bool colors = true;   // NO_COLOR is not set
  /// By LC_ALL, LC_CTYPE, LANG and NO_COLOR.
  static TextStyle of_environment();
};

/// Columns that UTF-8 text takes; colours take none.
int columns_of(std::string_view text);
/// As much of the text as fits, with `mark`, of one column, at the end of one that does not.
std::string fit(std::string_view text, int columns, std::string_view mark = "…");
/// Without signs beyond ASCII: `·` and `→` have stand-ins, others become `?`.
std::string in_ascii(std::string_view text);

/// Lines at the bottom of a terminal that are drawn anew in place, with ordinary text going by above them.
class LiveLines {
 public:
  explicit LiveLines(const Terminal& terminal, TextStyle style = TextStyle::of_environment())
      : terminal_(terminal), style_(style) {}
  ~LiveLines() { clear(); }
  LiveLines(const LiveLines&) = delete;
  LiveLines& operator=(const LiveLines&) = delete;

  /// Lines that do not fit are cut to the width of the terminal, and left out at its height.
  void show(std::vector<std::string> lines);
  /// Text that stays, above the lines.
  void print(std::string_view text);
  void clear();

 private:
  std::string erase() const;
  std::string drawn() const;

  const Terminal& terminal_;
  TextStyle style_;
  std::vector<std::string> lines_;
  int drawn_ = 0;  // rows that are on the screen
};

}  // namespace lmnet
