#pragma once
#include <memory>
#include <string>
#include <string_view>

// PCRE2's own types, so that its header stays in one file.
struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace lmnet {

/// The split patterns of well-known families, as their tokenizer.json writes them.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Cuts text into pieces: the matches of a regular expression and what lies between them. Letters and digits are those
/// of the PCRE2 installed (Unicode 14 in 10.42). Several threads may share it, each with a Matcher of its own.
class SplitPattern {
 public:
  /// Throws DataError for an expression that is wrong, not supported (see to_pcre2), or that matches the empty text.
  explicit SplitPattern(std::string_view regex);

  /// One thread's place to work.
  class Matcher {
   public:
    Matcher();

   private:
    friend class SplitPattern;
    struct Free {
      void operator()(pcre2_real_match_data_8* data) const;
    };
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  };

  /// Calls `take(piece)` for the pieces of valid UTF-8, in order; together they are `text`. Throws DataError where the
  /// expression takes too many steps or too much memory.
  template <class Take>
  void split(std::string_view text, Matcher& matcher, const Take& take) const {
    for (size_t done = 0; done < text.size();) {
      const Match match = find(text, done, matcher);
      if (match.begin > done) take(text.substr(done, match.begin - done));
      if (match.end > match.begin) take(text.substr(match.begin, match.end - match.begin));
      done = match.end;
    }
  }

 private:
  struct Match {
    size_t begin, end;  // never empty but at the end of the text
  };
  Match find(std::string_view text, size_t from, Matcher& matcher) const;

  struct Free {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_context_8* limits) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  std::unique_ptr<pcre2_real_match_context_8, Free> limits_;
};

}  // namespace lmnet
