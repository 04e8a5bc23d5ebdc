#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lmnet::config {

/// `a, b or c`.
std::string any_of(std::span<const std::string> words);

/// `, did you mean "train"?`, or nothing when no candidate is near.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

/// `, did you mean configs/c4.yaml?`, or nothing: another file of the folder, for who mistyped the name of one.
std::string near_file(const std::filesystem::path& file);

/// Whether YAML reads `text` as one plain scalar that is not null, wherever it stands.
bool is_plain_word(std::string_view text);

}  // namespace lmnet::config
