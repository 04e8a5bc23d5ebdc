#include "data/normal_form.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>
#include <utility>

#include "data/utf8.h"

namespace lmnet {
namespace {

constexpr char32_t kFirstMark = 0x300;
constexpr uint8_t kFirstMarkByte = 0xcc;  // the first byte of kFirstMark

constexpr std::array<std::pair<char32_t, char32_t>, 17> kAlone{{
    {0x0000, 0x02ff},    // Latin
    {0x0391, 0x03a9},    // Greek
    {0x03b1, 0x03c9},    // Greek
    {0x0400, 0x0482},    // Cyrillic
    {0x048a, 0x052f},    // Cyrillic
    {0x1e00, 0x1eff},    // Latin with several marks
    {0x2010, 0x2027},    // dashes, quotation marks, bullets
    {0x2030, 0x205e},    // more punctuation
    {0x20a0, 0x20c0},    // currencies
    {0x3001, 0x3029},    // CJK punctuation
    {0x3041, 0x3096},    // Hiragana
    {0x30a1, 0x30fa},    // Katakana
    {0x3400, 0x4dbf},    // Han
    {0x4e00, 0x9fff},    // Han
    {0xac00, 0xd7a3},    // Hangul syllables
    {0xff01, 0xff5e},    // full width
    {0x1f300, 0x1faff},  // pictures
}};

/// The place of the first character from `at` on that stands alone, or does not.
size_t find(std::string_view text, size_t at, bool alone) {
  while (at < text.size()) {
    if (static_cast<uint8_t>(text[at]) < kFirstMarkByte) {
      if (alone) return at;
      ++at;
      continue;
    }
    const std::string_view rest = text.substr(at);
    if (stands_alone(code_point(rest)) == alone) return at;
    at += utf8_step(rest).length;
  }
  return at;
}

size_t previous(std::string_view text, size_t at) {
  while (at > 0 && (static_cast<uint8_t>(text[--at]) & 0xc0) == 0x80) {
  }
  return at;
}

int combining_class(int32_t point) {
  return utf8proc_get_property(point)->combining_class;
}

/// Puts marks in canonical order: stable by class within each run of marks.
void order_marks(std::span<int32_t> points) {
  for (auto begin = points.begin(); begin != points.end();) {
    const auto end = std::find_if(begin, points.end(), [](int32_t p) { return combining_class(p) == 0; });
    std::stable_sort(begin, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end == points.end() ? end : end + 1;
  }
}

size_t checked(utf8proc_ssize_t result) {
  if (result < 0) throw std::runtime_error(fmt::format("utf8proc: {}", utf8proc_errmsg(result)));
  return static_cast<size_t>(result);
}

}  // namespace

bool stands_alone(char32_t character) {
  if (character < kFirstMark) return true;
  return std::any_of(kAlone.begin(), kAlone.end(),
                     [&](const auto& range) { return range.first <= character && character <= range.second; });
}

std::string_view NormalForm::operator()(std::string_view text) {
  size_t at = find(text, 0, false);
  if (at == text.size()) return text;
  result_.clear();
  size_t done = 0;
  while (at < text.size()) {
    // What does not stand alone may join with the one character before it, and with nothing else outside its run.
    const size_t begin = std::max(done, previous(text, at));
    const size_t end = find(text, at, true);
    result_ += text.substr(done, begin - done);
    append(text.substr(begin, end - begin));
    done = end;
    at = find(text, end, false);
  }
  result_ += text.substr(done);
  return result_;
}

void NormalForm::append(std::string_view text) {
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  points_.clear();
  for (size_t at = 0; at < text.size(); at += utf8_step(text.substr(at)).length) {
    std::array<utf8proc_int32_t, 32> parts;
    int last_boundclass = 0;
    const size_t count = checked(utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point(text.substr(at))),
                                                         parts.data(), parts.size(), options, &last_boundclass));
    points_.insert(points_.end(), parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(count));
  }
  order_marks(points_);
  points_.resize(
      checked(utf8proc_normalize_utf32(points_.data(), static_cast<utf8proc_ssize_t>(points_.size()), options)));
  for (const int32_t point : points_) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto size = static_cast<size_t>(utf8proc_encode_char(point, bytes.data()));
    result_.append(reinterpret_cast<const char*>(bytes.data()), size);
  }
}

}  // namespace lmnet
