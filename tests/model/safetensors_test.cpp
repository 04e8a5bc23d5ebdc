#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tests/model/mutator.h"
#include "tests/model/weights_helpers.h"

namespace lmnet {
namespace {

using test::sample;
using test::TempFolder;
using test::weights_error;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

/// Why a file of this header and so many bytes of data is refused. The message must begin with the file.
std::string refused(const std::string& header, size_t data_bytes) {
  TempFolder folder;
  const auto file = folder.write("x.safetensors", test::safetensors_bytes(header, data_bytes));
  const std::string error = weights_error([&] { SafetensorsFile{file}; });
  EXPECT_THAT(error, StartsWith(file.string() + ": "));
  return error;
}

std::string entry(const char* name, const char* dtype, const char* shape, uint64_t begin, uint64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype, shape, begin, end);
}

std::string header(std::initializer_list<std::string> entries) {
  return fmt::format("{{{}}}", fmt::join(entries, ","));
}

TensorSource from(const std::map<std::string, at::Tensor>& values) {
  return [&values](const SafetensorsEntry& wanted) { return values.at(wanted.name); };
}

std::vector<SafetensorsEntry> entries_of(const std::map<std::string, at::Tensor>& values) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : values) entries.push_back({name, value.scalar_type(), value.sizes().vec()});
  return entries;
}

TEST(Safetensors, what_is_written_is_read_back_in_every_dtype) {
  TempFolder folder;
  std::map<std::string, at::Tensor> values;
  for (auto dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt, at::kBool})
    values[at::toString(dtype)] = at::arange(6).view({2, 3}).to(dtype);
  values["empty"] = at::empty({3, 0});
  values["scalar"] = at::scalar_tensor(2.5);
  values["a \"name\"\n\u00e9"] = at::ones({1});
  write_safetensors(folder / "x.safetensors", entries_of(values), from(values));
  const SafetensorsFolder read(folder / "x.safetensors");
  EXPECT_EQ(read.tensors().size(), values.size());
  for (const auto& [name, value] : values) {
    EXPECT_EQ(read.tensor(name).scalar_type(), value.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.tensor(name), value)) << name;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "a temporary file is left";
}

TEST(Safetensors, files_are_laid_out_as_hugging_faces_are) {
  TempFolder folder;
  const std::map<std::string, at::Tensor> values = {{"b", at::ones({2})}};
  write_safetensors(folder / "x.safetensors", {{"b", at::kBFloat16, {2}}}, from(values));
  const std::string text = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})";
  const std::string bytes = test::read_bytes(folder / "x.safetensors");
  ASSERT_EQ(bytes.size(), 8 + (text.size() + 7) / 8 * 8 + 4);
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]), (text.size() + 7) / 8 * 8);
  EXPECT_EQ(bytes.substr(8, text.size()), text);
  EXPECT_EQ(bytes.substr(bytes.size() - 4), "\x80\x3f\x80\x3f");
}

TEST(Safetensors, tensors_are_views_of_the_file_that_outlive_their_reader) {
  TempFolder folder;
  const std::map<std::string, at::Tensor> values = {{"a", at::randn({5, 7})}};
  write_safetensors(folder / "x.safetensors", entries_of(values), from(values));
  at::Tensor view, again;
  {
    const SafetensorsFile file(folder / "x.safetensors");
    view = file.tensor(file.tensors()[0]);
    again = file.tensor(file.tensors()[0]);
  }
  EXPECT_EQ(view.const_data_ptr(), again.const_data_ptr());
  EXPECT_TRUE(at::equal(view, values.at("a")));
}

TEST(Safetensors, values_that_lie_askew_are_read_all_the_same) {
  TempFolder folder;
  const std::string text = header({entry("a", "U8", "[1]", 0, 1), entry("b", "F32", "[1]", 1, 5)});
  const auto file = folder.write("x.safetensors", test::safetensors_bytes(text, 5));
  const at::Tensor b = SafetensorsFolder(file).tensor("b");
  EXPECT_EQ(b.view(at::kInt).item<int>(), 0x01010101);
}

TEST(Safetensors, a_transposed_or_converted_value_is_written_in_its_new_form) {
  TempFolder folder;
  const at::Tensor value = at::randn({3, 4});
  write_safetensors(folder / "x.safetensors", {{"a", at::kDouble, {4, 3}}}, [&](const auto&) { return value.t(); });
  EXPECT_TRUE(at::equal(SafetensorsFolder(folder / "x.safetensors").tensor("a"), value.t().to(at::kDouble)));
  EXPECT_THAT(
      weights_error([&] {
        write_safetensors(folder / "y.safetensors", {{"a", at::kFloat, {4, 4}}}, [&](const auto&) { return value; });
      }),
      AllOf(HasSubstr("y.safetensors"), HasSubstr("\"a\"")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Safetensors, broken_lengths_are_refused) {
  TempFolder folder;
  auto error = [&](std::string_view bytes) {
    return weights_error([&] { SafetensorsFile{folder.write("x.safetensors", bytes)}; });
  };
  EXPECT_THAT(error(""), HasSubstr("0 bytes are no safetensors file"));
  EXPECT_THAT(error("1234567"), HasSubstr("no safetensors file"));
  EXPECT_THAT(error(std::string("\3\0\0\0\0\0\0\0{}", 10)), HasSubstr("3 bytes, but only 2 are left"));
  EXPECT_THAT(error(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)), HasSubstr("above the limit"));
  EXPECT_THAT(error(std::string(8, '\0')), HasSubstr("no JSON object"));
  EXPECT_THAT(weights_error([&] { SafetensorsFile{folder / "none"}; }), HasSubstr("cannot read"));
  EXPECT_THAT(weights_error([&] { SafetensorsFile{folder.path()}; }), HasSubstr("cannot read"));
}

TEST(Safetensors, headers_that_are_no_object_of_tensors_are_refused) {
  EXPECT_THAT(refused(" {}", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(refused("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(refused("{\"a\":", 0), HasSubstr("no valid JSON"));
  EXPECT_THAT(refused("{} x", 0), HasSubstr("no valid JSON"));
  EXPECT_THAT(refused("{\"\xff\":{}}", 0), HasSubstr("no valid JSON"));
  EXPECT_THAT(refused(R"({"a":1})", 0), HasSubstr("\"a\" holds something that does not belong there"));
  EXPECT_THAT(refused(R"({"a":[1]})", 0), HasSubstr("\"a\" holds"));
  EXPECT_THAT(refused(R"({"a":{"shape":{}}})", 0), HasSubstr("\"a\" holds"));
  EXPECT_THAT(refused(R"({"a":{"shape":[[1]]}})", 0), HasSubstr("\"a\" holds"));
  EXPECT_THAT(refused(R"({"__metadata__":{"a":1}})", 0), HasSubstr("__metadata__"));
  TempFolder folder;
  const auto file = folder.write("x", test::safetensors_bytes(R"({"__metadata__":{"a":"b"}}    )", 0));
  EXPECT_TRUE(SafetensorsFile(file).tensors().empty());
}

TEST(Safetensors, broken_tensors_are_refused_by_name) {
  const std::string whole = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  EXPECT_THAT(refused(R"({"a":{}})", 0), HasSubstr("tensor \"a\" has no dtype"));
  EXPECT_THAT(refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4), HasSubstr("tensor \"a\" has no data_offsets"));
  EXPECT_THAT(refused("{\"a\":{" + whole + R"(,"more":1}})", 4), HasSubstr("\"more\""));
  EXPECT_THAT(refused("{\"a\":{" + whole + R"(,"dtype":"F32"}})", 4), HasSubstr("\"a\".\"dtype\" is there twice"));
  EXPECT_THAT(refused("{\"a\":{" + whole + "},\"a\":{" + whole + "}}", 4), HasSubstr("\"a\" is there twice"));
  EXPECT_THAT(refused(header({entry("a", "F31", "[1]", 0, 4)}), 4), HasSubstr("unknown dtype \"F31\""));
  EXPECT_THAT(refused(header({entry("a", "F32", "[2]", 0, 4)}), 4),
              HasSubstr("\"a\", F32 of shape [2], takes 8 bytes"));
  EXPECT_THAT(refused(header({entry("a", "F32", "[1]", 4, 0)}), 4), HasSubstr("before it begins"));
  EXPECT_THAT(refused(header({entry("a", "F32", "[-1]", 0, 4)}), 4), HasSubstr("\"a\""));
  EXPECT_THAT(refused(header({entry("a", "F32", "[1.0]", 0, 4)}), 4), HasSubstr("\"a\""));
  for (const char* shape : {"[4294967296,4294967296]", "[18446744073709551615]", "[9223372036854775807,2]",
                            "[0,9223372036854775807,9223372036854775807]", "[4611686018427387905]"})
    EXPECT_THAT(refused(header({entry("a", "F32", shape, 0, 4)}), 4), HasSubstr("\"a\" of shape"));
  EXPECT_THAT(refused(header({entry("a", "F32", "[99999999999999999999999]", 0, 4)}), 4), HasSubstr("\"a\""));
  std::string dimensions = "[1";
  for (int i = 0; i < 64; ++i) dimensions += ",1";
  EXPECT_THAT(refused(header({entry("a", "F32", (dimensions + "]").c_str(), 0, 4)}), 4), HasSubstr("more than 64"));
}

TEST(Safetensors, data_must_be_covered_exactly) {
  const auto a = entry("a", "F32", "[2]", 0, 8);
  EXPECT_THAT(refused(header({a, entry("b", "F32", "[1]", 12, 16)}), 16),
              HasSubstr("bytes 8 to 12, before tensor \"b\", belong to no tensor"));
  EXPECT_THAT(refused(header({a, entry("b", "F32", "[1]", 4, 8)}), 8),
              HasSubstr("\"b\" begins at byte 4 and overlaps"));
  EXPECT_THAT(refused(header({a, entry("b", "F32", "[2]", 0, 8)}), 8), HasSubstr("overlaps"));
  EXPECT_THAT(refused(header({a, entry("b", "F32", "[0]", 4, 4)}), 8),
              HasSubstr("\"b\" begins at byte 4 and overlaps"));
  EXPECT_THAT(refused(header({a}), 9), HasSubstr("1 bytes after the last tensor \"a\""));
  EXPECT_THAT(refused(header({a}), 7), HasSubstr("\"a\" ends at byte 8, but the file has only 7"));
  EXPECT_THAT(refused("{}", 1), HasSubstr("1 bytes after the last tensor"));
}

TEST(Safetensors, names_of_any_length_and_kind_fit_a_sentence) {
  const std::string error =
      refused(header({entry((std::string(5000, 'x') + "\u00e9").c_str(), "F32", "[2]", 0, 4)}), 4);
  EXPECT_LT(error.size(), 400);
  EXPECT_EQ(shown("a\nb\x7f"), "a?b?");
  EXPECT_EQ(shown(std::string(99, 'x') + "\u00e9"), std::string(99, 'x') + "\u2026");
}

std::map<std::string, at::Tensor> three_tensors() {
  return {{"a", at::randn({4})}, {"b", at::randn({6})}, {"c", at::randn({2})}};
}

/// Writes three_tensors() as two shards, `a` and then `b` and `c`.
Json write_shards(const TempFolder& folder, const std::map<std::string, at::Tensor>& values) {
  write_safetensors_folder(folder.path(), entries_of(values), from(values), 32);
  return Json::parse(test::read_bytes(folder / "model.safetensors.index.json"));
}

TEST(SafetensorsFolder, a_small_network_is_one_file_and_a_large_one_shards_with_an_index) {
  const auto values = three_tensors();
  TempFolder one, many;
  write_safetensors_folder(one.path(), entries_of(values), from(values));
  EXPECT_TRUE(std::filesystem::exists(one / "model.safetensors"));
  const Json index = write_shards(many, values);
  const char *first = "model-00001-of-00002.safetensors", *second = "model-00002-of-00002.safetensors";
  EXPECT_EQ(index,
            (Json{{"metadata", {{"total_size", 48}}}, {"weight_map", {{"a", first}, {"b", second}, {"c", second}}}}));
  for (const TempFolder* folder : {&one, &many}) {
    const SafetensorsFolder read(folder->path());
    for (const auto& [name, value] : values) EXPECT_TRUE(at::equal(read.tensor(name), value)) << name;
    EXPECT_THAT(weights_error([&] { read.tensor("d"); }), HasSubstr("tensor \"d\" is missing"));
  }
  EXPECT_THAT(weights_error([&] { write_safetensors_folder(one.path(), entries_of(values), from(values)); }),
              HasSubstr("give a new folder"));
}

TEST(SafetensorsFolder, an_index_that_does_not_fit_its_shards_is_refused) {
  const auto values = three_tensors();
  TempFolder folder;
  const Json index = write_shards(folder, values);
  auto error = [&](const Json& changed) {
    folder.write("model.safetensors.index.json", changed.dump());
    return weights_error([&] { SafetensorsFolder{folder.path()}; });
  };
  auto with = [&](const char* tensor, const char* shard) {
    Json changed = index;
    changed["weight_map"][tensor] = shard;
    return changed;
  };
  const char* first = "model-00001-of-00002.safetensors";
  EXPECT_THAT(error(with("b", first)), AllOf(HasSubstr("\"b\" should be in " + std::string(first)),
                                             HasSubstr("but model-00002-of-00002.safetensors has it")));
  EXPECT_THAT(error(with("d", first)), HasSubstr("\"d\" should be in " + std::string(first) + ", but no file has it"));
  EXPECT_THAT(error(with("d", "model-3.safetensors")),
              HasSubstr("model-3.safetensors, which holds tensor \"d\", is missing"));
  Json changed = index;
  changed["weight_map"].erase("c");
  EXPECT_THAT(error(changed), HasSubstr("tensor \"c\" of model-00002-of-00002.safetensors is not in the index"));
  for (const char* name : {"../x.safetensors", "/x", "", "."}) EXPECT_THAT(error(with("a", name)), HasSubstr("\"a\""));
  EXPECT_THAT(error({{"weight_map", Json::object()}}), HasSubstr("no weight_map"));
  EXPECT_THAT(error({{"weight_map", {{"a", 1}}}}), HasSubstr("\"a\""));
  EXPECT_THAT(error(1), HasSubstr("index.json"));
  std::filesystem::resize_file(folder / first, std::filesystem::file_size(folder / first) - 1);
  EXPECT_THAT(error(index), AllOf(HasSubstr(first), HasSubstr("\"a\" ends at byte 16")));
}

TEST(SafetensorsFolder, a_tensor_in_two_shards_and_a_folder_without_weights_are_refused) {
  const auto values = three_tensors();
  TempFolder folder;
  write_shards(folder, values);
  const std::string second = "model-00002-of-00002.safetensors";
  write_safetensors(folder / second, entries_of(values), from(values));
  EXPECT_THAT(weights_error([&] { SafetensorsFolder{folder.path()}; }),
              AllOf(HasSubstr("tensor \"a\""), HasSubstr("another file")));
  TempFolder empty;
  EXPECT_THAT(weights_error([&] { SafetensorsFolder{empty.path()}; }), HasSubstr("save_pretrained"));
}

TEST(Safetensors, the_golden_files_are_read) {
  if (!std::filesystem::exists(sample("golden-lmnet"))) GTEST_SKIP() << "no samples; set LMNET_TEST_DATA";
  for (const auto& file : std::filesystem::directory_iterator(sample("golden-lmnet"))) {
    if (file.path().extension() != ".safetensors") continue;
    EXPECT_GT(SafetensorsFile(file.path()).tensors().size(), 3) << file.path();
  }
}

TEST(Safetensors, damaged_files_are_read_or_refused) {
  TempFolder folder;
  const std::string whole = test::safetensors_bytes(test::kHeader, 48);
  const test::MemoryLimit limit(test::kMemory);
  test::Mutator mutator(3);
  for (int i = 0; i < 500; ++i) {
    const auto file = folder.write("x.safetensors", mutator.mutate(whole));
    try {
      const SafetensorsFile read(file);
      for (const SafetensorsEntry& entry : read.tensors()) read.tensor(entry).view({-1}).clone();
    } catch (const WeightsError&) {
    }
  }
}

}  // namespace
}  // namespace lmnet
