#include "trainer/config/data.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "data/format_file.h"
#include "trainer/config/words.h"

namespace lmnet::config {
namespace {

using enum Span::Unit;

Codec<std::string> tokenizer_name() {
  Codec<std::string> codec = text();
  codec.allowed = "auto, bytes, or a path: a folder (./NAME in the working directory) or its tokenizer.json";
  codec.read = [=, allowed = codec.allowed](const Node& node, const std::string& path) {
    const bool is_path = node.text.find('/') != node.text.npos || node.text.ends_with(".json");
    if (node.kind == Node::Kind::scalar && is_path) return node.text;
    if (node.kind != Node::Kind::scalar || (node.text != "auto" && node.text != "bytes")) {
      refuse(node, path, allowed + did_you_mean(node.text, std::array<std::string, 2>{"auto", "bytes"}));
    }
    return node.text;
  };
  return codec;
}

/// A path or several.
Codec<std::vector<std::string>> paths() {
  const std::string allowed = "a file, a glob, a folder, or a list of these";
  const Codec<std::string> one = text();
  const auto several = list_of(one, allowed);
  return {allowed,
          [=](const Node& node, const std::string& path) {
            if (node.kind == Node::Kind::scalar) return std::vector{one.read(node, path)};
            if (node.items.empty()) refuse(node, path, allowed);
            return several.read(node, path);
          },
          [=](const std::vector<std::string>& value) {
            return value.size() == 1 ? one.write(value.front()) : several.write(value);
          }};
}

Codec<std::map<std::string, std::string>> text_map(const std::string& allowed) {
  const Codec<std::string> one = text();
  return {allowed,
          [=](const Node& node, const std::string& path) {
            if (node.kind != Node::Kind::map) refuse(node, path, allowed);
            std::map<std::string, std::string> values;
            for (const Node& item : node.items) values.emplace(item.key, one.read(item, join(path, item.key)));
            return values;
          },
          [=](const std::map<std::string, std::string>& values) {
            Node node;
            node.kind = Node::Kind::map;
            for (const auto& [key, value] : values) {
              node.items.push_back(one.write(value));
              node.items.back().key = key;
            }
            return node;
          }};
}

std::string allowed_formats() {
  std::vector<std::string> names = Formats().names();
  names.push_back("one of data.formats");
  names.push_back("a mapping as there");
  return any_of(names);
}

void check_source(SourceConfig& source, const Node& node, const std::string& path) {
  const bool has_format = !source.format.empty() || !source.format_json.empty();
  const auto missing = [&](const char* key, const std::string& allowed) {
    fail(node.where, fmt::format("{} is missing, expected {}", join(path, key), allowed));
  };
  const Node* place = node.find(source.name.empty() ? "path" : "name");
  if (!place) missing("path", "a file, a glob, a folder, or a list of these");
  source.where = fmt::format("{}: {}", place->where, join(path, place->key));
  if (source.name.empty() && !has_format) missing("format", allowed_formats());
  if (!source.name.empty() && (!source.path.empty() || has_format || !source.columns.empty()))
    fail(place->where, fmt::format("{} stands for path, format and columns in data.registry, leave those out",
                                   join(path, place->key)));
}

Mapping<SourceConfig> source_keys() {
  using Source = SourceConfig;
  Mapping<Source> keys;
  keys.key("name", &Source::name, given(text()), "of a source in data.registry, instead of path, format and columns")
      .key("path", &Source::path, given(paths()), "where its records are")
      .bound<TextOrMapping>(
          "format",
          [](const Source& source) {
            return TextOrMapping{source.format, source.format_json};
          },
          [](Source& source, TextOrMapping value) {
            std::tie(source.format, source.format_json) = std::tie(value.text, value.json);
          },
          text_or_mapping(allowed_formats()), "how its records are written and become texts")
      .key("columns", &Source::columns, given(text_map("a mapping of names in the format to names in the data")),
           "where the data has other names than the format")
      .key("weight", &Source::weight, real(above_zero()), "its share of the tokens")
      .key("epochs", &Source::epochs, given(whole(1)), "times each of its records is taken at most")
      .key("tokens", &Source::tokens, given(length({tokens})), "the most that is taken of it")
      .check(check_source);
  return keys;
}

/// Without files of formats and sources that are read later, names can be looked at here.
void check_formats(const DataConfig& data, const Node& node, const std::string& path) {
  if (!data.formats.empty()) return;
  const std::vector<std::string> names = Formats().names();
  for (const char* key : {"train", "validation"}) {
    const Node* sources = node.find(key);
    if (!sources) continue;
    for (size_t i = 0; i < sources->items.size(); ++i) {
      const Node* format = sources->items[i].find("format");
      if (format && format->kind == Node::Kind::scalar && std::ranges::find(names, format->text) == names.end())
        refuse(*format, join(join(join(path, key), i), "format"), any_of(names) + did_you_mean(format->text, names));
    }
  }
}

}  // namespace

Mapping<DataConfig> data_keys() {
  const auto sources = list_of(source_keys().codec(), "a list of {path, format, weight}");
  Mapping<DataConfig> keys;
  keys.key("tokenizer", &DataConfig::tokenizer, tokenizer_name(),
           "auto is the one in the backbone's folder, else bytes")
      .key("sequence_length", &DataConfig::sequence_length, given(whole(1)), "tokens of a sequence", Need::to_train)
      .key("streams", &DataConfig::streams, or_word("auto", whole(1)), "independent readers; fixed when a run begins")
      .key("readers", &DataConfig::readers, small_whole(0),
           "threads of a replica that read and tokenise ahead; 0: reading and training take turns")
      .key("packing", &DataConfig::packing, boolean(), "several texts in one sequence")
      .key("documents", &DataConfig::documents, or_word("auto", boolean()),
           "attention and positions restart at each packed text; auto: where a source has prompts, not plain text, and "
           "there is no model.input.prefix")
      .key("formats", &DataConfig::formats, given(text()), "a file of formats beside those that come with LMNet")
      .key("registry", &DataConfig::registry, given(text()), "a file of sources: NAME: {path, format, columns}")
      .key("on_bad_record", &DataConfig::skip_bad_records, one_of<bool>({{"fail", false}, {"skip", true}}),
           "what a broken record does: it ends the run, or is passed over and listed in skipped.jsonl")
      .key("bad_record_limit", &DataConfig::bad_record_limit, whole(0), "how many a run may skip")
      .key("train", &DataConfig::train, sources, "what to train on", Need::to_train)
      .key("validation", &DataConfig::validation, sources, "what to evaluate on")
      .check(check_formats);
  return keys;
}

}  // namespace lmnet::config
