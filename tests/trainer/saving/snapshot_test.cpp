#include "trainer/saving/snapshot.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/trainer/checkpoint/helpers.h"
#include "trainer/checkpoint/crc32c.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;

SavedTensor saved(const std::string& kind, const std::string& name, const at::Tensor& value) {
  return {kind, {name, value.scalar_type(), value.sizes().vec(), 0, value.numel()}, value};
}

std::span<const std::byte> bytes_of(const at::Tensor& value) {
  return {static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()};
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::ranges::equal(a, b);
}

TEST(Snapshot, keeps_what_was_there_while_training_goes_on) {
  const at::Tensor first = at::randn({10}), large = at::randn({300'000}), small = at::ones({3}, at::kBFloat16);
  const at::Tensor before = large.clone();
  Snapshot snapshot({saved("edges", "first", first), saved("edges", "large", large), saved("edges", "small", small)},
                    Snapshot::Copies::all);
  std::map<std::string, uint32_t> known;
  EXPECT_EQ(snapshot.size(), first.nbytes() + before.nbytes() + small.nbytes());
  EXPECT_EQ(snapshot.fetch(0, known).data(), bytes_of(first).data());
  std::atomic<bool> changed = false;
  std::jthread training([&] {
    snapshot.before_change();
    large.zero_();
    changed = true;
  });
  // The training asks at some moment; until a fetch finds that it has, it waits.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(changed);
  while (!changed) EXPECT_TRUE(same(snapshot.fetch(1, known), bytes_of(before)));
  EXPECT_TRUE(same(snapshot.fetch(1, known), bytes_of(before)));
  EXPECT_TRUE(same(snapshot.fetch(2, known), bytes_of(small)));
  EXPECT_EQ(snapshot.tensors()[1].what.crc32c, crc32c(bytes_of(before)));
}

TEST(Snapshot, lets_training_go_on_when_nothing_more_is_fetched) {
  Snapshot snapshot({saved("edges", "value", at::ones({3}))}, Snapshot::Copies::all);
  snapshot.let_go();
  snapshot.before_change();
}

TEST(Snapshot, copies_nothing_on_the_host_where_nothing_changes_meanwhile) {
  const at::Tensor value = at::randn({1000});
  Snapshot snapshot({saved("edges", "value", value)}, Snapshot::Copies::one);
  std::map<std::string, uint32_t> known;
  EXPECT_EQ(snapshot.fetch(0, known).data(), bytes_of(value).data());
  EXPECT_EQ(snapshot.tensors()[0].what.crc32c, crc32c(bytes_of(value)));
}

TEST(Snapshot, takes_the_checksum_of_frozen_weights_once) {
  const at::Tensor frozen = at::randn({10});
  SavedTensor tensor = saved("", "frozen", frozen);
  tensor.reference = "backbone";
  std::map<std::string, uint32_t> known;
  for (const uint32_t crc : {crc32c(bytes_of(frozen)), 7U}) {
    Snapshot snapshot({tensor}, Snapshot::Copies::all);
    EXPECT_TRUE(snapshot.fetch(0, known).empty());
    EXPECT_EQ(snapshot.tensors()[0].what.crc32c, crc);
    known["frozen"] = 7;
  }
}

TEST(Snapshot, says_so_where_there_is_no_memory) {
  EXPECT_THAT(error_of([] { HostMemory(size_t{1} << 60, /*pinned=*/false); }), HasSubstr("checkpoint.ahead"));
}

}  // namespace
}  // namespace lmnet
