#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet {

/// Whether a character stands alone under Unicode's composition (NFC): it never changes and never joins with what
/// stands before it. True only for the usual scripts without combining marks; the others are looked at in full.
bool stands_alone(char32_t character);

/// Unicode's normal form C. One object serves one thread.
class NormalForm {
 public:
  /// The normal form of valid UTF-8: `text` itself where it is already, else a text that lives until the next call.
  std::string_view operator()(std::string_view text);

 private:
  void append(std::string_view text);

  std::string result_;
  std::vector<int32_t> points_;
};

}  // namespace lmnet
