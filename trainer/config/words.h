#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet::config {

/// `a, b or c`.
std::string any_of(std::span<const std::string> words);

/// `, did you mean "train"?`, or nothing when no candidate is near.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

/// Whether YAML reads `text` as one plain scalar that is not null, wherever it stands.
bool is_plain_word(std::string_view text);

}  // namespace lmnet::config
