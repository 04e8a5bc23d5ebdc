#pragma once
#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>

namespace lmnet::test {

/// Changes texts a little, as broken disks, editors and copies do, so that most of their form survives.
class Mutator {
 public:
  /// `words` are what readers of such texts may stumble over; they outlive it.
  Mutator(uint64_t seed, std::span<const std::string_view> words) : random_(seed), words_(words) {}

  size_t below(size_t count) { return static_cast<size_t>(random_() % count); }

  /// One change, at any place.
  void change(std::string& text) { change(text, below(text.size() + 1)); }

  /// One change at or behind `at`, which may be the end.
  void change(std::string& text, size_t at) {
    const size_t length = std::min(text.size() - at, below(20));
    switch (below(8)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, word());
        break;
      case 3:
        text.replace(at, length, word());
        break;
      case 4:
        text.insert(at, text.substr(at, below(200)));
        break;
      case 5:
        replace_number(text, at);
        break;
      case 6:
        if (at < text.size()) std::swap(text[at], text[below(text.size())]);
        break;
      default:
        if (below(4) == 0) text.resize(at);
    }
  }

 private:
  std::string_view word() { return words_[below(words_.size())]; }

  void replace_number(std::string& text, size_t at) {
    static constexpr std::string_view numbers[] = {"-1", "0", "281474976710656", "9223372036854775807", "1e308"};
    const size_t begin = text.find_first_of("0123456789", at);
    if (begin == text.npos) return;
    text.replace(begin, text.find_first_not_of("0123456789", begin) - begin, numbers[below(std::size(numbers))]);
  }

  std::mt19937_64 random_;
  std::span<const std::string_view> words_;
};

}  // namespace lmnet::test
