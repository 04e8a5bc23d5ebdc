#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <span>
#include <string_view>
#include <thread>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/crc32c.h"
#include "trainer/checkpoint/tensor_file_reader.h"
#include "trainer/checkpoint/tensor_file_writer.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         (a.nbytes() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

/// Random bits: infinities, NaNs with payloads and subnormal numbers are among them.
at::Tensor random_bits(at::IntArrayRef shape, at::ScalarType dtype) {
  const auto count = static_cast<int64_t>(at::empty(shape, dtype).nbytes());
  const auto bytes = at::randint(0, 256, {count}, at::kByte);
  return bytes.view(dtype).view(shape);
}

TensorFileWriter::Summary write_one(const fs::path& path, const std::string& name, const at::Tensor& tensor) {
  TensorFileWriter writer(path);
  writer.add(name, tensor);
  return writer.finish();
}

TEST(Crc32c, has_the_known_value) {
  EXPECT_EQ(crc32c(std::as_bytes(std::span(std::string_view("123456789")))), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, goes_on_from_a_previous_part) {
  const std::string_view text = "123456789";
  const auto bytes = std::as_bytes(std::span(text));
  EXPECT_EQ(crc32c(bytes.subspan(4), crc32c(bytes.first(4))), crc32c(bytes));
}

TEST(Crc32c, of_two_parts_is_joined_from_theirs) {
  std::vector<std::byte> bytes(100'000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * i >> 3);
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{4095}, size_t{77'777}, bytes.size()}) {
    const std::span first = std::span(bytes).first(cut), second = std::span(bytes).subspan(cut);
    EXPECT_EQ(crc32c_join(crc32c(first), crc32c(second), second.size()), crc32c(bytes)) << cut;
  }
  // Of parts longer than the 2^31 - 1 after which the powers of x repeat.
  constexpr uint64_t long_part = uint64_t{1} << 33, longer = uint64_t{3} << 32;
  EXPECT_EQ(crc32c_join(crc32c_join(1, 2, long_part), 3, longer),
            crc32c_join(1, crc32c_join(2, 3, longer), long_part + longer));
}

class TensorFileDtype : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(TensorFileDtype, comes_back_bit_by_bit) {
  const TemporaryFolder folder;
  const auto written = random_bits({7, 3, 5}, GetParam());
  write_one(folder / "a.h5", "edges.1.0-3.fc.weight", written);
  EXPECT_TRUE(same_bits(TensorFileReader(folder / "a.h5").read("edges.1.0-3.fc.weight"), written));
}

INSTANTIATE_TEST_SUITE_P(All, TensorFileDtype, ::testing::Values(at::kBFloat16, at::kFloat, at::kDouble, at::kLong),
                         [](const auto& instance) { return std::string(c10::toString(instance.param)); });

TEST(TensorFile, keeps_every_bit_pattern_of_bf16) {
  const TemporaryFolder folder;
  const auto written = at::arange(65536, at::kInt).to(at::kShort).view(at::kBFloat16);
  write_one(folder / "a.h5", "t", written);
  EXPECT_TRUE(same_bits(TensorFileReader(folder / "a.h5").read("t"), written));
}

TEST(TensorFile, lists_names_shapes_dtypes_and_checksums) {
  const TemporaryFolder folder;
  TensorFileWriter writer(folder / "a.h5");
  writer.add("b", at::ones({2, 3}, at::kBFloat16));
  writer.add("a", at::ones({4}, at::kLong));
  const auto summary = writer.finish();
  ASSERT_EQ(summary.tensors.size(), 2u);
  EXPECT_EQ(summary.tensors[0].name, "b");
  const TensorFileReader reader(folder / "a.h5");
  ASSERT_EQ(reader.tensors().size(), 2u);
  EXPECT_EQ(reader.tensors()[0].name, "a");
  EXPECT_THAT(reader.tensors()[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(reader.tensors()[1].dtype, at::kBFloat16);
  EXPECT_EQ(reader.tensors()[1].crc32c, summary.tensors[0].crc32c);
}

TEST(TensorFile, summary_is_the_digest_of_the_file) {
  const TemporaryFolder folder;
  const auto summary = write_one(folder / "a.h5", "t", at::ones({1000}));
  EXPECT_EQ(summary.bytes, fs::file_size(folder / "a.h5"));
  EXPECT_EQ(digest(folder / "a.h5").bytes, summary.bytes);
  EXPECT_EQ(digest(folder / "a.h5").crc32c, summary.crc32c);
}

TEST(TensorFile, holds_empty_tensors_scalars_and_no_tensor_at_all) {
  const TemporaryFolder folder;
  TensorFileWriter writer(folder / "a.h5");
  writer.add("empty", at::empty({0, 4}, at::kBFloat16));
  writer.add("scalar", at::scalar_tensor(2.5, at::kDouble));
  writer.finish();
  TensorFileWriter(folder / "none.h5").finish();
  const TensorFileReader reader(folder / "a.h5");
  EXPECT_THAT(reader.read("empty").sizes(), ElementsAre(0, 4));
  EXPECT_EQ(reader.read("scalar").dim(), 0);
  EXPECT_EQ(reader.read("scalar").item<double>(), 2.5);
  EXPECT_THAT(TensorFileReader(folder / "none.h5").tensors(), IsEmpty());
}

TEST(TensorFile, takes_views_and_parameters_as_they_are_now) {
  const TemporaryFolder folder;
  auto parameter = at::randn({4, 6}).requires_grad_();
  const auto expected = parameter.detach().t().clone(at::MemoryFormat::Contiguous);
  TensorFileWriter writer(folder / "a.h5");
  writer.add("t", parameter.t());
  parameter.detach().zero_();
  writer.finish();
  EXPECT_TRUE(same_bits(TensorFileReader(folder / "a.h5").read("t"), expected));
}

TEST(TensorFile, holds_thousands_of_tensors_and_a_big_one) {
  const TemporaryFolder folder;
  const auto big = random_bits({16, 1024, 1024}, at::kFloat);
  TensorFileWriter writer(folder / "a.h5");
  for (int64_t i = 0; i < 2000; ++i) {
    writer.add(fmt::format("vertices.{}.norm", i), at::full({1 + i % 97}, i, at::kFloat));
  }
  writer.add("big", big);
  writer.finish();
  const TensorFileReader reader(folder / "a.h5");
  for (int64_t i = 0; i < 2000; ++i) {
    ASSERT_TRUE(same_bits(reader.read(fmt::format("vertices.{}.norm", i)), at::full({1 + i % 97}, i, at::kFloat)));
  }
  EXPECT_TRUE(same_bits(reader.read("big"), big));
}

TEST(TensorFile, holds_a_piece_of_a_tensor) {
  const TemporaryFolder folder;
  const auto whole = at::arange(12, at::kFloat);
  const auto piece = whole.narrow(0, 5, 4);
  const std::span bytes(static_cast<const std::byte*>(piece.const_data_ptr()), piece.nbytes());
  TensorFileWriter writer(folder / "a.h5");
  writer.add({"t@exp_avg", at::kFloat, {3, 4}, 5, 4, crc32c(bytes)}, bytes);
  writer.finish();
  const TensorFileReader reader(folder / "a.h5");
  const StoredTensor& stored = reader.tensor("t@exp_avg");
  EXPECT_THAT(stored.shape, ElementsAre(3, 4));
  EXPECT_EQ(stored.offset, 5);
  EXPECT_EQ(stored.length, 4);
  EXPECT_TRUE(same_bits(reader.read("t@exp_avg"), piece.contiguous()));
}

TEST(TensorFile, refuses_another_name) {
  const TemporaryFolder folder;
  write_one(folder / "a.h5", "t", at::ones({3, 4}));
  const TensorFileReader reader(folder / "a.h5");
  EXPECT_THAT(error_of([&] { reader.read("u"); }), AllOf(HasSubstr("a.h5"), HasSubstr("'u'")));
}

TEST(TensorFile, refuses_unknown_dtypes_bad_names_and_a_second_tensor_of_one_name) {
  const TemporaryFolder folder;
  TensorFileWriter writer(folder / "a.h5");
  writer.add("t", at::ones({1}));
  EXPECT_THAT(error_of([&] { writer.add("half", at::ones({1}, at::kHalf)); }), HasSubstr("Half"));
  EXPECT_THAT(error_of([&] { writer.add("a/b", at::ones({1})); }), HasSubstr("a/b"));
  EXPECT_THAT(error_of([&] { writer.add("t", at::ones({1})); }),
              AllOf(HasSubstr("'t'"), HasSubstr("a.h5"), HasSubstr("already exists")));
}

TEST(TensorFile, finds_one_damaged_byte_and_names_the_tensor) {
  const TemporaryFolder folder;
  TensorFileWriter writer(folder / "a.h5");
  writer.add("first", at::ones({1 << 19}));
  writer.add("last", at::ones({1 << 19}));
  writer.finish();
  damage(folder / "a.h5", 1000);
  const TensorFileReader reader(folder / "a.h5");
  EXPECT_NO_THROW(reader.read("first"));
  EXPECT_THAT(error_of([&] { reader.read("last"); }), AllOf(HasSubstr("a.h5"), HasSubstr("'last'")));
}

TEST(TensorFile, refuses_truncated_missing_and_foreign_files) {
  const TemporaryFolder folder;
  write_one(folder / "short.h5", "t", at::ones({1 << 19}));
  cut_off(folder / "short.h5", 1);
  std::ofstream(folder / "foreign.h5") << "not HDF5";
  const auto error = [&](const std::string& name) { return error_of([&] { TensorFileReader(folder / name); }); };
  EXPECT_THAT(error("short.h5"), AllOf(HasSubstr("short.h5"), HasSubstr("truncated file")));
  EXPECT_THAT(error("missing.h5"), AllOf(HasSubstr("missing.h5"), HasSubstr("No such file")));
  EXPECT_THAT(error("foreign.h5"), AllOf(HasSubstr("foreign.h5"), HasSubstr("signature not found")));
}

TEST(TensorFile, appears_only_when_finished) {
  const TemporaryFolder folder;
  {
    TensorFileWriter writer(folder / "a.h5");
    writer.add("t", at::ones({1}));
    EXPECT_FALSE(fs::exists(folder / "a.h5"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TensorFile, replaces_an_older_file_and_the_leftover_of_a_killed_writer) {
  const TemporaryFolder folder;
  write_one(folder / "a.h5", "old", at::ones({1}));
  std::ofstream(folder / ".a.h5.tmp") << "half a file";
  write_one(folder / "a.h5", "new", at::ones({1}));
  EXPECT_EQ(TensorFileReader(folder / "a.h5").tensors().front().name, "new");
  EXPECT_FALSE(fs::exists(folder / ".a.h5.tmp"));
}

TEST(TensorFile, names_the_folder_that_is_not_there) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { TensorFileWriter(folder / "no/a.h5"); }),
              AllOf(HasSubstr("no/.a.h5.tmp"), HasSubstr("No such file or directory")));
}

// A limit on the size of files stands for a disk that runs full.
TEST(TensorFile, names_file_reason_and_way_out_when_the_disk_is_full) {
  const TemporaryFolder folder;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{1 << 20, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  std::string message;
  {
    TensorFileWriter writer(folder / "a.h5");
    setrlimit(RLIMIT_FSIZE, &limit);
    message = error_of([&] {
      writer.add("t", at::ones({1 << 20}));
      writer.finish();
    });
    setrlimit(RLIMIT_FSIZE, &before);
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, AllOf(HasSubstr("a.h5"), HasSubstr("File too large"), HasSubstr("free some space")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TensorFile, is_written_and_read_by_many_threads) {
  const TemporaryFolder folder;
  const auto work = [&](int rank) {
    const auto path = folder / fmt::format("edges.{:05}.h5", rank);
    const auto written = at::full({1 << 16}, rank, at::kFloat);
    for (int round = 0; round < 5; ++round) {
      TensorFileWriter writer(path);
      for (int i = 0; i < 20; ++i) {
        writer.add(fmt::format("t{}", i), written);
      }
      writer.finish();
      const TensorFileReader reader(path);
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(same_bits(reader.read(fmt::format("t{}", i)), written));
      }
    }
  };
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back(work, rank);
  }
}

}  // namespace
}  // namespace lmnet
