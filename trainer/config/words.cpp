#include "trainer/config/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <numeric>
#include <utility>

#include "trainer/config/config.h"

namespace lmnet {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// Edits (insert, delete, replace, swap neighbours) that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last.back();
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  // A third of the letters may be wrong: more of them is another word.
  size_t best = std::string::npos;
  std::string result;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(lower(word), lower(candidate));
    if (distance > (std::max(word.size(), candidate.size()) + 1) / 3 || distance >= best) continue;
    best = distance;
    result = candidate;
  }
  return result;
}

namespace config {

std::string any_of(std::span<const std::string> words) {
  if (words.size() < 2) return words.empty() ? "" : words.front();
  return fmt::format("{} or {}", fmt::join(words.first(words.size() - 1), ", "), words.back());
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near);
}

std::string near_file(const std::filesystem::path& file) {
  std::vector<std::string> others;
  std::error_code unreadable;
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  for (const auto& entry : std::filesystem::directory_iterator(folder, unreadable)) {
    if (entry.is_regular_file(unreadable)) others.push_back(entry.path().filename().string());
  }
  const std::string near = nearest(file.filename().string(), others);
  return near.empty() ? "" : fmt::format(", did you mean {}?", (file.parent_path() / near).string());
}

bool is_plain_word(std::string_view text) {
  static constexpr std::array<std::string_view, 4> nulls = {"null", "Null", "NULL", "~"};
  const auto letter = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '/' || c == '.';
  };
  const auto inner = [&](char c) { return letter(c) || c == '-' || c == '+' || c == '*'; };
  return !text.empty() && letter(text.front()) && std::ranges::all_of(text, inner) &&
         std::ranges::find(nulls, text) == nulls.end() && text != "...";
}

}  // namespace config
}  // namespace lmnet
