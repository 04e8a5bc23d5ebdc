#include "trainer/device.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "model/graph/errors.h"
#include "parallel/thread_communicator.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A backend of devices that are only named.
class NamedDevices final : public DeviceBackend {
 public:
  explicit NamedDevices(bool own) : own_(own) {}
  std::string name() const override { return "names"; }
  int count() const override { return 1; }
  std::string trouble() const override { return ""; }
  at::Device use(int) override { return at::kCPU; }
  std::string device_name(at::Device) const override { return "name"; }
  DeviceMemory memory(at::Device) const override { return {}; }
  void reset_peak(at::Device) override {}
  bool own_devices(Communicator&, at::Device) const override { return own_; }
  std::unique_ptr<Communicator> world(std::unique_ptr<Communicator> host, at::Device) override { return host->fork(); }

 private:
  bool own_;
};

RankDevice named(bool own = true) {
  return {at::kCPU, std::make_shared<NamedDevices>(own)};
}

/// Whether `backend` takes another communicator than the host's, on one rank.
bool leaves_the_host(std::string_view backend, const RankDevice& where) {
  std::unique_ptr<Communicator> host = std::move(make_thread_communicators(1).front());
  const Communicator* const before = host.get();
  return choose_backend(backend, where, std::move(host)).get() != before;
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ChooseDevice, cpu_opens_nothing) {
  const RankDevice chosen = choose_device("cpu", {});
  EXPECT_TRUE(chosen.device.is_cpu());
  EXPECT_EQ(chosen.backend, nullptr);
}

TEST(ChooseDevice, without_a_driver_auto_is_the_cpu_and_cuda_says_so) {
  if (has_nvidia_driver()) GTEST_SKIP() << "this machine has a driver";
  EXPECT_TRUE(choose_device("auto", {}).device.is_cpu());
  EXPECT_THAT(
      refusal([] { choose_device("cuda", {}); }),
      AllOf(HasSubstr("parallel.device"), HasSubstr("no NVIDIA driver"), HasSubstr("set parallel.device to cpu")));
}

TEST(ChooseDevice, a_gpu_is_the_one_of_the_local_rank) {
  if (!has_nvidia_driver()) GTEST_SKIP() << "no NVIDIA GPU";
  const RankDevice first = choose_device("auto", {});
  if (first.backend == nullptr) GTEST_SKIP() << "no NVIDIA GPU, or no module";
  EXPECT_EQ(first.device, at::Device(at::kCUDA, 0));
  LaunchEnvironment environment;
  environment.local_rank = first.backend->count();
  EXPECT_EQ(choose_device("cuda", environment).device, first.device);
  const at::Tensor ones = at::ones({1 << 20}, at::TensorOptions(at::kFloat).device(first.device));
  EXPECT_GE(first.backend->memory(first.device).allocated, 4 << 20);
}

TEST(ChooseBackend, nccl_is_for_gpus_of_their_own) {
  EXPECT_TRUE(leaves_the_host("auto", named()));
  EXPECT_TRUE(leaves_the_host("nccl", named()));
  EXPECT_FALSE(leaves_the_host("mpi", named()));
  EXPECT_FALSE(leaves_the_host("auto", named(/*own=*/false)));
  EXPECT_FALSE(leaves_the_host("auto", {}));
  EXPECT_THAT(refusal([] { leaves_the_host("nccl", {}); }), HasSubstr("parallel.backend is nccl, which needs GPUs"));
}

TEST(ChooseBackend, ranks_on_unlike_devices_are_refused_on_all_of_them) {
  std::vector<std::string> refusals(2);
  run_ranks(2, [&](Communicator& world) {
    const RankDevice where = world.rank() == 0 ? named() : RankDevice{};
    refusals[world.rank()] = refusal([&] { choose_backend("auto", where, world.fork()); });
  });
  EXPECT_THAT(refusals[0], HasSubstr("rank 0 computes on a GPU, other ranks do not"));
  EXPECT_THAT(refusals[1], HasSubstr("rank 1 computes on the CPU, other ranks do not"));
}

}  // namespace
}  // namespace lmnet
