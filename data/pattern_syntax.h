#pragma once
#include <string>
#include <string_view>

namespace lmnet {

/// A regular expression of tokenizer.json, which is written for Oniguruma (Ruby's syntax, Unicode), as one that PCRE2
/// understands in the same way. What the two read differently and nobody needs (anchors, \w, \b, nested classes, …) is
/// refused. Throws DataError saying what it is and where.
std::string to_pcre2(std::string_view regex);

}  // namespace lmnet
