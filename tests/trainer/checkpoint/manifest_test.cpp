#include "trainer/checkpoint/manifest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>
#include <span>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/crc32c.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
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
           {.bytes = 4096, .crc32c = 0xE3069283, .tensors = {{"edges.1.0-3.fc.bias", at::kFloat, {8}, 0, 8, 7}}});
  add_file(manifest, "optimizer.00001.h5",
           {.bytes = 64, .crc32c = 1, .tensors = {{"edges.1.0-3.fc.bias@exp_avg", at::kFloat, {8}, 5, 3, 9}}});
  add_file(manifest, "optimizer.00000.h5",
           {.bytes = 64, .crc32c = 1, .tensors = {{"edges.1.0-3.fc.bias@exp_avg", at::kFloat, {8}, 0, 5, 9}}});
  manifest.references["backbone"] = {"hugging_face", "/models/some", "fedc"};
  manifest.tensors["vertices.shared.norm.weight"] = {at::kBFloat16, {4}, {}, "backbone", 11};
  manifest.trains = {"edges"};
  manifest.validation_loss = 2.25;
  complete_tensors(manifest);
  return manifest;
}

/// The text with the CRC that it now has.
std::string resealed(const std::string& json) {
  const std::string line = "  \"crc32c\": ";
  const std::string text = json.substr(0, json.rfind(line));
  return fmt::format("{}{}{}\n}}\n", text, line, crc32c(std::as_bytes(std::span(text))));
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), std::string::npos) << from;
  return text.replace(text.find(from), from.size(), to);
}

TEST(Manifest, comes_back_from_its_text) {
  const auto manifest = parse_manifest(to_json(example()), "m");
  EXPECT_EQ(manifest.update, 1000);
  EXPECT_EQ(manifest.stage, 1);
  EXPECT_EQ(manifest.stage_name, "all");
  EXPECT_EQ(manifest.tokens, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(manifest.vertex_parallel, 2);
  EXPECT_EQ(manifest.data_parallel, 4);
  EXPECT_EQ(manifest.topology, "1-4-4-4-1");
  EXPECT_EQ(manifest.plan_hash, "0123456789abcdef");
  ASSERT_EQ(manifest.files.size(), 3u);
  EXPECT_EQ(manifest.files[0].name, "edges.00001.h5");
  EXPECT_EQ(manifest.files[0].bytes, 4096u);
  EXPECT_EQ(manifest.files[0].crc32c, 0xE3069283u);
  EXPECT_THAT(manifest.trains, ElementsAre("edges"));
  EXPECT_EQ(manifest.validation_loss, 2.25);
  EXPECT_EQ(manifest.references.at("backbone").path, "/models/some");
  EXPECT_EQ(manifest.tensors.at("vertices.shared.norm.weight").reference, "backbone");
  const ManifestTensor& pieces = manifest.tensors.at("edges.1.0-3.fc.bias@exp_avg");
  EXPECT_THAT(pieces.shape, ElementsAre(8));
  ASSERT_EQ(pieces.pieces.size(), 2u);
  EXPECT_EQ(pieces.pieces[0].file, "optimizer.00000.h5");
  EXPECT_EQ(pieces.pieces[1].offset, 5);
  EXPECT_EQ(pieces.crc32c, crc32c_join(9, 9, 12));
  EXPECT_EQ(to_json(manifest), to_json(example()));
}

TEST(Manifest, refuses_a_tensor_that_is_there_twice_or_not_wholly) {
  auto twice = example();
  twice.tensors["edges.1.0-3.fc.bias"].pieces.push_back({"edges.00002.h5", 0, 8, 7});
  EXPECT_THAT(error_of([&] { complete_tensors(twice); }), AllOf(HasSubstr("edges.1.0-3.fc.bias"), HasSubstr("twice")));
  auto less = example();
  less.tensors["edges.1.0-3.fc.bias@exp_avg"].pieces.erase(less.tensors["edges.1.0-3.fc.bias@exp_avg"].pieces.begin());
  EXPECT_THAT(error_of([&] { complete_tensors(less); }), HasSubstr("edges.1.0-3.fc.bias@exp_avg"));
}

TEST(Manifest, parts_that_know_a_tensor_differently_do_not_fit) {
  auto manifest = example();
  Manifest other;
  other.tensors["edges.1.0-3.fc.bias"] = {at::kFloat, {9}, {{"edges.00002.h5", 0, 9, 7}}, "", 0};
  EXPECT_THAT(error_of([&] { add_part(manifest, other); }),
              AllOf(HasSubstr("edges.1.0-3.fc.bias"), HasSubstr("edges.00001.h5"), HasSubstr("edges.00002.h5")));
}

TEST(Manifest, a_text_that_was_changed_anywhere_is_refused) {
  const auto text = to_json(example());
  for (size_t place = 0; place < text.size(); place += 7) {
    auto changed = text;
    changed[place] ^= 1;
    EXPECT_THAT(error_of([&] { parse_manifest(changed, "x/manifest.json"); }), StartsWith("x/manifest.json: "))
        << place;
  }
}

TEST(Manifest, names_file_and_field_that_is_wrong) {
  const auto text = to_json(example());
  const auto error = [](const std::string& json) {
    return error_of([&] { parse_manifest(resealed(json), "x/manifest.json"); });
  };
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
              AllOf(HasSubstr("tensors.edges.1.0-3.fc.bias.pieces[0].file"), HasSubstr("vertices.00001.h5")));
  EXPECT_THAT(error_of([&] { parse_manifest("[]", "m"); }), HasSubstr("is not an object"));
}

TEST(Manifest, refuses_a_cut_text_and_another_format) {
  const auto text = to_json(example());
  EXPECT_THAT(error_of([&] { parse_manifest(text.substr(0, text.size() / 2), "m"); }), HasSubstr("incomplete"));
  EXPECT_THAT(error_of([&] { parse_manifest(replaced(text, "version\": 2", "version\": 1"), "m"); }),
              HasSubstr("format_version 1 is not 2"));
}

TEST(Manifest, names_the_file_that_is_missing) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_manifest(folder / "manifest.json"); }),
              AllOf(HasSubstr("manifest.json"), HasSubstr("No such file")));
}

}  // namespace
}  // namespace lmnet
