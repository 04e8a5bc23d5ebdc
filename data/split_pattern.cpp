#include "data/split_pattern.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "data/errors.h"
#include "data/pattern_syntax.h"

namespace lmnet {
namespace {

// PCRE2's own limits are reached on a run of ten million blanks; these are there to end expressions that explode.
constexpr uint32_t kSteps = 500'000'000;
constexpr uint32_t kHeapKib = 4 << 20;

std::string message(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

template <class T>
T* allocated(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

void SplitPattern::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

void SplitPattern::Free::operator()(pcre2_real_match_context_8* limits) const {
  pcre2_match_context_free(limits);
}

void SplitPattern::Matcher::Free::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}

SplitPattern::SplitPattern(std::string_view regex) : limits_(allocated(pcre2_match_context_create(nullptr))) {
  const std::string pattern = "(*LF)" + to_pcre2(regex);
  constexpr uint32_t options = PCRE2_UTF | PCRE2_UCP;
  int error = 0;
  size_t at = 0;
  code_.reset(pcre2_compile(units(pattern), pattern.size(), options, &error, &at, nullptr));
  if (code_ == nullptr)
    throw DataError(fmt::format("the regular expression `{}` is wrong at byte {}: {}", pattern, at, message(error)));
  uint32_t matches_empty = 0;
  pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0)
    throw DataError(fmt::format("the regular expression `{}` matches the empty text, which is not supported", regex));
  // Where memory may not be executed there is no JIT: matching is slower then, and the same.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  pcre2_set_match_limit(limits_.get(), kSteps);
  pcre2_set_depth_limit(limits_.get(), kSteps);
  pcre2_set_heap_limit(limits_.get(), kHeapKib);
}

SplitPattern::Matcher::Matcher() : data_(allocated(pcre2_match_data_create(1, nullptr))) {}

SplitPattern::Match SplitPattern::find(std::string_view text, size_t from, Matcher& matcher) const {
  pcre2_match_data* data = matcher.data_.get();
  const auto match = [&](uint32_t options) {
    return pcre2_match(code_.get(), units(text), text.size(), from, options, data, limits_.get());
  };
  int result = match(PCRE2_NO_UTF_CHECK);
  const bool interpreted = result == PCRE2_ERROR_JIT_STACKLIMIT;
  if (interpreted) result = match(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
  const size_t* place = pcre2_get_ovector_pointer(data);
  const Match found = result < 0 ? Match{text.size(), text.size()} : Match{place[0], place[1]};
  // Match data keep the memory of an interpreted match, up to kHeapKib, for as long as they live.
  if (interpreted) matcher = Matcher();
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    throw DataError(fmt::format("the split pattern fails on a text of {} bytes: {}", text.size(), message(result)));
  return found;
}

}  // namespace lmnet
