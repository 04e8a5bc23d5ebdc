#include "trainer/checkpoint/manifest.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/trainer/checkpoint_helpers.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

Manifest example() {
  Manifest manifest;
  manifest.update = 1000;
  manifest.stage = 1;
  manifest.stage_name = "all";
  manifest.tokens = std::numeric_limits<uint64_t>::max();
  manifest.vertex_parallel = 2;
  manifest.data_parallel = 4;
  manifest.topology = "1-4-4-4-1";
  manifest.plan_hash = "0123456789abcdef";
  add_file(manifest, "edges.00001.h5",
           {.bytes = 4096, .crc32c = 0xE3069283, .tensors = {{"edges.1.0-3.fc.bias", {8}, at::kFloat, 7}}});
  return manifest;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), std::string::npos) << from;
  return text.replace(text.find(from), from.size(), to);
}

TEST(Manifest, comes_back_from_its_text) {
  const auto manifest = parse_manifest(to_json(example()), "m");
  EXPECT_EQ(manifest.format_version, 1);
  EXPECT_EQ(manifest.update, 1000);
  EXPECT_EQ(manifest.stage, 1);
  EXPECT_EQ(manifest.stage_name, "all");
  EXPECT_EQ(manifest.tokens, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(manifest.vertex_parallel, 2);
  EXPECT_EQ(manifest.data_parallel, 4);
  EXPECT_EQ(manifest.topology, "1-4-4-4-1");
  EXPECT_EQ(manifest.plan_hash, "0123456789abcdef");
  ASSERT_EQ(manifest.files.size(), 1u);
  EXPECT_EQ(manifest.files[0].name, "edges.00001.h5");
  EXPECT_EQ(manifest.files[0].bytes, 4096u);
  EXPECT_EQ(manifest.files[0].crc32c, 0xE3069283u);
  EXPECT_THAT(manifest.tensors, ElementsAre(Pair("edges.1.0-3.fc.bias", "edges.00001.h5")));
  EXPECT_EQ(to_json(manifest), to_json(example()));
}

TEST(Manifest, refuses_a_tensor_that_stands_in_two_files) {
  auto manifest = example();
  Manifest other;
  other.tensors["edges.1.0-3.fc.bias"] = "edges.00002.h5";
  EXPECT_THAT(error_of([&] { add_part(manifest, other); }),
              AllOf(HasSubstr("edges.1.0-3.fc.bias"), HasSubstr("edges.00001.h5"), HasSubstr("edges.00002.h5")));
}

TEST(Manifest, names_file_and_field_that_is_wrong) {
  const auto text = to_json(example());
  const auto error = [](const std::string& json) { return error_of([&] { parse_manifest(json, "x/manifest.json"); }); };
  EXPECT_THAT(error(replaced(text, "\"stage_name\"", "\"stage_nam\"")),
              AllOf(StartsWith("x/manifest.json: "), HasSubstr("stage_name is missing")));
  EXPECT_THAT(error(replaced(text, "\"update\"", "\"extra\": 1, \"update\"")), HasSubstr("extra is unknown"));
  EXPECT_THAT(error(replaced(text, "\"update\": 1000", "\"update\": \"1000\"")), HasSubstr("update is not a whole"));
  EXPECT_THAT(error(replaced(text, "\"update\": 1000", "\"update\": -1")), HasSubstr("update is not a whole"));
  EXPECT_THAT(error(replaced(text, "\"stage\": 1", "\"stage\": 1.5")), HasSubstr("stage is not a whole"));
  EXPECT_THAT(error(replaced(text, "3808858755", "4294967296")), HasSubstr("files[0].crc32c is not a whole"));
  EXPECT_THAT(error(replaced(text, "\"1-4-4-4-1\"", "7")), HasSubstr("topology is not text"));
  EXPECT_THAT(error(replaced(text, "\"name\": \"edges", "\"name\": \"../edges")), HasSubstr("files[0].name"));
  EXPECT_THAT(error(replaced(text, "\"file\": \"edges", "\"file\": \"vertices")),
              AllOf(HasSubstr("tensors.edges.1.0-3.fc.bias.file"), HasSubstr("vertices.00001.h5")));
  EXPECT_THAT(error("[]"), HasSubstr("is not an object"));
}

TEST(Manifest, refuses_a_cut_text_and_another_format) {
  const auto text = to_json(example());
  EXPECT_THAT(error_of([&] { parse_manifest(text.substr(0, text.size() / 2), "m"); }), HasSubstr("incomplete"));
  EXPECT_THAT(error_of([&] { parse_manifest(replaced(text, "version\": 1", "version\": 2"), "m"); }),
              HasSubstr("format_version 2 is not 1"));
}

TEST(Manifest, names_the_file_that_is_missing) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_manifest(folder / "manifest.json"); }),
              AllOf(HasSubstr("manifest.json"), HasSubstr("No such file")));
}

}  // namespace
}  // namespace lmnet
