#include "data/pattern_syntax.h"

#include <fmt/format.h>

#include <cctype>
#include <initializer_list>
#include <utility>

#include "data/errors.h"

namespace lmnet {
namespace {

/// Unicode's White_Space; PCRE2's own \s has U+180E too.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

class Translator {
 public:
  explicit Translator(std::string_view regex) : in_(regex) {}

  std::string run() {
    while (at_ < in_.size()) {
      switch (in_[at_]) {
        case '\\':
          escape(false);
          break;
        case '[':
          bracket();
          break;
        case '(':
          group();
          break;
        case '{':
          interval();
          break;
        case '^':
        case '$':
          refuse(in_.substr(at_, 1));
        default:
          copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw DataError(fmt::format("the regular expression has `{}` at byte {}, which is not supported", what, at_));
  }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char peek(size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  void copy(size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }
  void replace(size_t count, std::string_view with) {
    out_ += with;
    at_ += count;
  }
  size_t digits(size_t ahead, int (*kind)(int)) const {
    size_t count = 0;
    while (kind(static_cast<unsigned char>(peek(ahead + count))) != 0) ++count;
    return count;
  }

  /// True for an escape that stands for many characters.
  bool escape(bool in_class) {
    const char kind = peek(1);
    if (kind == 's') {
      replace(2, in_class ? kWhiteSpace : fmt::format("[{}]", kWhiteSpace));
    } else if (kind == 'S' && !in_class) {
      replace(2, fmt::format("[^{}]", kWhiteSpace));
    } else if (kind == 'd' || kind == 'D') {
      copy(2);
    } else if (kind == 'p' || kind == 'P') {
      property();
    } else {
      one_character(kind);
      return false;
    }
    return true;
  }

  void one_character(char kind) {
    const size_t hexadecimal = digits(2, std::isxdigit);
    if (kind == 'n' || kind == 'r' || kind == 't' || kind == ' ' || std::ispunct(static_cast<unsigned char>(kind))) {
      copy(2);
    } else if (kind == 'u' && hexadecimal >= 4) {
      replace(6, fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4)));
    } else if (kind == 'x' && hexadecimal >= 2 && peek(2) < '8') {
      copy(4);
    } else if (kind == 'x' && peek(2) == '{' && digits(3, std::isxdigit) > 0 &&
               peek(3 + digits(3, std::isxdigit)) == '}') {
      copy(4 + digits(3, std::isxdigit));
    } else {
      refuse(in_.substr(at_, 2));
    }
  }

  /// \p{L}, \p{Lu}, \p{Han}: names of three letters and more are scripts.
  void property() {
    const size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) refuse(in_.substr(at_, 3));
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    const bool caret = name.starts_with('^');
    if (caret) name.remove_prefix(1);
    for (const char c : name)
      if (!std::isalpha(static_cast<unsigned char>(c)) && c != '_') refuse(in_.substr(at_, end + 1 - at_));
    const char letter = (peek(1) == 'P') != caret ? 'P' : 'p';
    replace(end + 1 - at_, fmt::format("\\{}{{{}{}}}", letter, name.size() > 2 ? "sc:" : "", name));
  }

  void bracket() {
    copy(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') refuse("[]");
    while (peek(0) != ']') {
      if (at_ >= in_.size()) refuse("[ without ]");
      if (peek(0) == '[' || next_is("&&")) refuse(in_.substr(at_, peek(0) == '[' ? 1 : 2));
      if (peek(0) != '\\') {
        copy(1);
      } else if (escape(true) && peek(0) == '-') {
        replace(1, "\\-");  // after a class it stands for itself
      }
    }
    copy(1);
  }

  void group() {
    if (peek(1) == '*') refuse("(*");
    if (peek(1) != '?') return copy(1);
    for (const std::string_view kind : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"})
      if (next_is(kind)) return copy(kind.size());
    refuse(in_.substr(at_, 3));
  }

  void interval() {
    const size_t least = digits(1, std::isdigit);
    size_t size = 1 + least;
    if (peek(size) == ',') size += 1 + digits(size + 1, std::isdigit);
    if (least == 0 || peek(size) != '}') refuse("{");
    copy(size + 1);
    if (at_ < in_.size() && std::string_view("?+*{").find(in_[at_]) != std::string_view::npos)
      refuse(in_.substr(at_ - 1, 2));
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string to_pcre2(std::string_view regex) {
  return Translator(regex).run();
}

}  // namespace lmnet
