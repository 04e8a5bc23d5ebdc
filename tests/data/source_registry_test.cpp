#include "data/source_registry.h"

#include <gmock/gmock.h>

#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::data_error;
using test::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SourceRegistry, finds_paths_formats_and_columns_by_name) {
  TempFolder folder;
  Formats formats;
  formats.add(folder.write("formats.yaml", "mine: {prompt: \"{q}:\", answer: \"{a}\"}\n"));
  const SourceRegistry registry(
      folder.write("sources.yaml",
                   "c4-en: {path: /data/c4/*.json.gz, format: c4, columns: {text: body.plain}}\n"
                   "both:\n  path: [a.jsonl, b]\n  format: mine\n"
                   "own: {path: x, format: {answer: \"{z}\"}}\n"),
      formats);
  EXPECT_THAT(registry.names(), ElementsAre("both", "c4-en", "own"));
  EXPECT_EQ(registry.find("both")->path.text(), "a.jsonl, b");
  EXPECT_EQ(registry.find("both")->format, formats.get("mine"));
  EXPECT_EQ(registry.find("c3-en"), nullptr);
  const auto file = folder.write("a.jsonl", R"({"body": {"plain": "hello"}, "z": "zed"})");
  EXPECT_EQ(test::all_records(file, registry.find("c4-en")->format)[0].answer, "hello");
  EXPECT_EQ(test::all_records(file, registry.find("own")->format)[0].answer, "zed");
}

TEST(SourceRegistry, names_file_line_and_fault) {
  TempFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"a: {path: x}\n", "s.yaml:1: a lacks the key `format`"},
      {"a: {format: c4}\n", "s.yaml:1: a lacks the key `path`"},
      {"a:\n  path: x\n  format: c5\n", "s.yaml:3: a.format: unknown data format \"c5\""},
      {"a: {path: [], format: c4}\n", "s.yaml:1: a.path is empty"},
      {"a: {path: x, format: c4, columns: {txt: y}}\n", "a.columns: the format c4 reads no field \"txt\""},
      {"a: {path: x, format: c4, columns: {text: y..z}}\n", "a.columns: `y..z` names no field"},
      {"a: {path: x, format: c4, weight: 2}\n", "a.weight is not known; keys here are path, format, columns"}};
  for (const auto& [yaml, fault] : cases)
    EXPECT_THAT(data_error([&] { SourceRegistry(folder.write("s.yaml", yaml), Formats()); }), HasSubstr(fault));
}

}  // namespace
}  // namespace lmnet
