#pragma once
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>

namespace lmnet::test {

/// What reading a small damaged file may take.
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kMemory = 1 << 30;  // this sanitizer holds back what was freed
#else
constexpr uint64_t kMemory = 64 << 20;
#endif

/// While it lives, this process may take only so many bytes of memory more than it has.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t bytes) {
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    const rlimit limit = {std::min(before_.rlim_max, pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + bytes),
                          before_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

/// Changes texts a little, so that most of their form survives.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (uint32_t changes = 1 + below(3); changes > 0; --changes) change(text);
    return text;
  }
  uint32_t below(size_t limit) { return static_cast<uint32_t>(random_() % std::max<size_t>(limit, 1)); }

 private:
  void change(std::string& text) {
    static const std::string kPieces[] = {"0",
                                          "-1",
                                          "18446744073709551615",
                                          "9223372036854775808",
                                          "1e308",
                                          "null",
                                          "[",
                                          "{",
                                          "]",
                                          "}",
                                          "\"",
                                          ",",
                                          ":",
                                          "\\u0000",
                                          "[[[[[[[[[[[[[[[[",
                                          "{\"a\":",
                                          "true",
                                          "F32",
                                          "4294967296",
                                          std::string(1, '\xff')};
    const size_t at = below(text.size()), length = std::min<size_t>(below(12), text.size() - at);
    switch (below(6)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), 1 + below(40)));
        break;
      case 3:
        text.replace(at, length, kPieces[below(std::size(kPieces))]);
        break;
      case 4:
        replace_number(text, at);
        break;
      default:
        text.resize(below(20) == 0 ? at : text.size());
    }
  }

  /// The number at or behind `at` becomes another one.
  void replace_number(std::string& text, size_t at) {
    const char* digits = "0123456789";
    const size_t begin = text.find_first_of(digits, at);
    if (begin == std::string::npos) return;
    const size_t end = std::min(text.find_first_not_of(digits, begin), text.size());
    static const char* kNumbers[] = {"0",
                                     "1",
                                     "2",
                                     "3",
                                     "8",
                                     "16",
                                     "4611686018427387904",
                                     "9223372036854775807",
                                     "18446744073709551615",
                                     "36893488147419103232",
                                     "0.5",
                                     "-3",
                                     "1e400",
                                     "65537"};
    text.replace(begin, end - begin, kNumbers[below(std::size(kNumbers))]);
  }

  std::mt19937 random_;
};

/// A valid header of safetensors for 48 bytes of data.
inline const char kHeader[] =
    R"({"__metadata__":{"format":"pt"},"model.a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]},)"
    R"("d":{"dtype":"F16","shape":[0,7],"data_offsets":[40,40]},"e":{"dtype":"BOOL","shape":[8],"data_offsets":[40,48]}})";

}  // namespace lmnet::test
