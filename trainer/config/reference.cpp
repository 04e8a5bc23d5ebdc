#include <fmt/format.h>

#include "trainer/config/config.h"
#include "trainer/config/presets.h"
#include "trainer/config/schema.h"

namespace lmnet {
namespace {

using config::KeyInfo;

std::string standard(const KeyInfo& key) {
  if (key.need == config::Need::always) return "required";
  if (key.need == config::Need::to_train && (key.standard.empty() || key.standard == "[]")) return "required to train";
  return key.standard.empty() ? "-" : key.standard;
}

std::string section_of(const KeyInfo& key) {
  return key.path.substr(0, key.path.find('.'));
}

/// Text in a cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string result;
  for (char letter : text) {
    if (letter == '|' || letter == '<' || letter == '*') result += '\\';
    result += letter;
  }
  return result;
}

const char* const kHead = R"(# Config keys

One YAML file is a run; `lmnet help config` prints the same keys. This page is written by the program:
`build/release/lmnet help config --markdown >docs/config.md`.

Overrides stand behind the file: `lmnet train configs/c4.yaml train.global_batch=64 'train.stages[0].lr=1e-3'`. Unknown,
doubled, mistyped and out-of-range keys are refused with file and line. `[]` in a key stands for each entry of a list. Units:
`u` updates, `t` `Kt` `Mt` `Gt` tokens, `s` `m` `h` time. Paths are relative to the working directory. On resume `parallel.*`,
`train.micro_batch`, `until`, `train.on_nan`, `train.on_spike`, `train.spike.*`, `train.skip_limit`, `checkpoint.*`, `log.*`, `evaluate.*`,
`run.time_limit`, `data.readers`, `data.on_bad_record` and `data.bad_record_limit` may change, and stages may be added.
)";

}  // namespace

std::string config_reference() {
  std::string table = fmt::format("{:<30} {:<18} {}\n", "key", "default", "meaning | what it takes");
  const auto schema = config::config_schema();
  for (const KeyInfo& key : schema.keys())
    table += fmt::format("{:<30} {:<18} {} | {}\n", key.path, standard(key), key.meaning, key.allowed);
  return table + "\n" + config::preset_reference();
}

std::string config_markdown() {
  std::string page = kHead, section;
  const auto schema = config::config_schema();
  for (const KeyInfo& key : schema.keys()) {
    if (section_of(key) != section) {
      section = section_of(key);
      page += fmt::format("\n## {}\n| key | default | meaning | what it takes |\n|---|---|---|---|\n", section);
    }
    const std::string value = standard(key);
    const bool code = value != "-" && !value.starts_with("required");
    page += fmt::format("| `{}` | {} | {} | {} |\n", key.path, code ? "`" + value + "`" : value, cell(key.meaning),
                        cell(key.allowed));
  }
  return page + "\n## Presets\n```\n" + config::preset_reference() + "```\n";
}

}  // namespace lmnet
