// Training on a device that is not the CPU gives what it gives on the CPU.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "parallel/thread_communicator.h"
#include "tests/model/other_device.h"
#include "tests/trainer/agreement.h"
#include "trainer/engine.h"

namespace lmnet::testing {
namespace {

struct Trained {
  std::vector<double> losses, norms;
  std::map<std::string, at::Tensor> values;
};

Trained train_on(at::Device device, const Case& shape) {
  const std::unique_ptr<Communicator> alone = std::move(make_thread_communicators(1).front());
  Mesh mesh(*alone, 1);
  Engine engine(shape_of(shape), graph_of(shape), at::TensorOptions(shape.dtype).device(device), OptimizerConfig{},
                mesh);
  initialize(engine);
  const Trains trains = shape.stages.front().trains;
  engine.begin_stage(trains);
  Trained trained;
  const int before = test::values_read_back();
  for (int update = 0; update < 3; ++update) {
    const UpdateResult result = engine.update(global_batch(shape, update),
                                              {.lr = rates(trains), .clip = kClip, .micro_batch = shape.micro_batch});
    trained.losses.push_back(result.loss);
    trained.norms.push_back(result.grad_norm);
  }
  EXPECT_EQ(test::values_read_back(), before) << "an update waits for the device to read a value";
  engine.optimizer().visit(Optimizer::Kind::value, [&](const std::string& name, const at::Tensor& value) {
    EXPECT_EQ(value.device(), device) << name;
    trained.values[name] = value.cpu().clone();
  });
  return trained;
}

TEST(EngineOnAnotherDevice, trains_as_on_the_cpu) {
  for (const char* topology : {"1", "1-3-2-1"}) {
    const Case shape{.name = "", .topology = topology};
    const Trained expected = train_on(at::kCPU, shape), actual = train_on(test::other_device(), shape);
    ASSERT_EQ(actual.values.size(), expected.values.size());
    for (size_t i = 0; i < expected.losses.size(); ++i) {
      EXPECT_NEAR(actual.losses[i], expected.losses[i], 1e-10 * expected.losses[i]);
      EXPECT_NEAR(actual.norms[i], expected.norms[i], 1e-9 * expected.norms[i]);
    }
    for (const auto& [name, value] : expected.values)
      EXPECT_LT((actual.values.at(name) - value).abs().max().item<double>(), 1e-8) << topology << " " << name;
  }
}

}  // namespace
}  // namespace lmnet::testing
