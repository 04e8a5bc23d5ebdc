#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/template.h"

namespace lmnet {

/// How the rows of a file that is no Parquet lie in it: as its name says (.csv and .tsv; everything else is JSON), as
/// texts with blank lines between them, or a row a line. Or there are no rows but tokens, in a folder that `lmnet
/// prepare` has written.
enum class RowLayout { by_name, paragraphs, lines, prepared };

/// A text of a record: the first one whose condition holds.
class TextChoice {
 public:
  struct Option {
    std::optional<FieldCondition> when;
    Template text;
  };
  std::vector<Option> options;

  /// Nothing where no condition holds. Throws BadRecord.
  std::optional<std::string> make(const RecordFields& fields) const;
};

/// A chat that a record holds as a list.
struct ChatList {
  FieldPath list;
  FieldPath role, content;                                     // in each of its items
  std::map<std::string, std::string, std::less<>> roles = {};  // LMNet's word for theirs; others stay
  std::optional<TextChoice> system = {};                       // a text of the record; goes first unless it is empty
};

/// A message that is written out of a record's fields.
struct ChatTurn {
  std::string role;
  TextChoice content;
};

struct FormatSpec {
  std::string name;
  RowLayout rows = RowLayout::by_name;
  std::string split;                // between the columns of a line
  std::vector<std::string> header;  // the names of the columns, where a file has none
  TextChoice prompt, answer;
  bool end_of_prompt = false;  // an end of text stands between prompt and answer
  std::optional<ChatList> chat;
  std::vector<ChatTurn> turns;
  std::optional<int64_t> bad_records;  // that are passed over; more of them end the reading
  std::string source;                  // its YAML
};

}  // namespace lmnet
