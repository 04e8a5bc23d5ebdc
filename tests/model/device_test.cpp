// The model on a device that is not the CPU gives what it gives on the CPU, and never waits for the device.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/edge.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/walk.h"
#include "tests/model/other_device.h"
#include "tests/model/twin.h"

namespace lmnet {
namespace {

using test::other_device;
using test::random_sequence;

constexpr int64_t kTokens = 5;

BackboneConfig backbone_of(const std::string& family) {
  BackboneConfig backbone = test::tiny_backbone();
  if (family != "gpt2") return backbone;
  backbone.family = BackboneConfig::Family::gpt2;
  backbone.kv_heads = backbone.heads;
  backbone.positions = 16;
  return backbone;
}

at::TensorOptions fp64_on(at::Device device) {
  return at::TensorOptions(at::kDouble).device(device);
}

at::Tensor ramp(at::IntArrayRef shape) {
  return (at::arange(c10::multiply_integers(shape), at::kDouble) * 0.37).sin().view(shape);
}

void fill(torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  double phase = 1;
  for (at::Tensor& value : module.parameters())
    value.copy_((at::arange(value.numel(), at::kDouble).view(value.sizes()) * 0.7 + phase++).sin() * 0.4);
}

Sequence on(at::Device device, Sequence sequence) {
  for (at::Tensor* tensor : {&sequence.tokens, &sequence.targets, &sequence.learn}) *tensor = tensor->to(device);
  return sequence;
}

class OtherDevice : public ::testing::TestWithParam<const char*> {
 protected:
  Steps steps_at(const at::Tensor& positions) const {
    if (backbone_.gpt2()) return {};
    return {Rotary::tables(backbone_, positions, at::kDouble)};
  }
  Steps first_steps(at::Device device) const {
    return steps_at(at::arange(kTokens, at::TensorOptions(at::kLong).device(device)));
  }

  /// `run(device)` gives the same on both devices, stays on its device and reads nothing back.
  template <class Run>
  void expect_same(const Run& run) {
    const std::vector<at::Tensor> expected = run(at::Device(at::kCPU));
    const int before = test::values_read_back();
    const std::vector<at::Tensor> actual = run(other_device());
    EXPECT_EQ(test::values_read_back(), before);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i].device(), other_device());
      EXPECT_LT((actual[i].cpu() - expected[i]).abs().max().item<double>(), 1e-12) << "tensor " << i;
    }
  }

  BackboneConfig backbone_ = backbone_of(GetParam());
  at::Tensor input_ = ramp({3, kTokens, backbone_.hidden_size});
};

TEST_P(OtherDevice, a_transformer_runs_forward_and_backward) {
  expect_same([&](at::Device device) {
    Transformer vertex(backbone_, fp64_on(device));
    fill(vertex);
    for (at::Tensor& value : vertex.parameters()) value.set_requires_grad(true);
    const at::Tensor y = vertex.forward(input_.to(device), first_steps(device));
    y.backward(ramp(y.sizes()).to(device));
    std::vector<at::Tensor> results = {y.detach()};
    for (const at::Tensor& value : vertex.parameters()) results.push_back(value.grad());
    return results;
  });
}

TEST_P(OtherDevice, padding_is_not_seen) {
  const at::NoGradGuard no_grad;
  const auto run = [&](at::Device device) {
    Transformer vertex(backbone_, fp64_on(device));
    fill(vertex);
    Steps steps = first_steps(device);
    steps.lengths = {5, 2, 4};
    const at::Tensor y = vertex.forward(input_.to(device), steps);
    return std::vector{y[0], y[1].narrow(0, 0, 2), y[2].narrow(0, 0, 4)};
  };
  expect_same(run);
}

TEST_P(OtherDevice, a_generation_runs_from_the_prompt_to_single_tokens) {
  const at::NoGradGuard no_grad;
  expect_same([&](at::Device device) {
    Transformer vertex(backbone_, fp64_on(device));
    fill(vertex);
    std::vector<KeyValues> cached;
    Steps steps = first_steps(device);
    steps.capacity = 9;
    steps.start = {0, 0, 0};
    std::vector<at::Tensor> results = {vertex.forward(input_.to(device), steps, &cached)};
    steps.start = {5, 3, 4};
    steps.rotary = steps_at(at::tensor(steps.start, at::TensorOptions(at::kLong).device(device)).unsqueeze(1)).rotary;
    results.push_back(vertex.forward(input_.narrow(1, 0, 1).to(device), steps, &cached));
    return results;
  });
}

TEST_P(OtherDevice, edges_of_every_kind_run_all_and_some_of_them) {
  for (const EdgeKind kind : {EdgeKind::block, EdgeKind::attention, EdgeKind::mlp, EdgeKind::linear})
    for (const StackItems& items : {StackItems{}, StackItems{1, 2}, StackItems{0, 3}})
      expect_same([&](at::Device device) {
        EdgeStack edges(backbone_, {kind}, 4, fp64_on(device));
        fill(edges);
        for (at::Tensor& value : edges.parameters()) value.set_requires_grad(true);
        const int64_t count = items.empty() ? 4 : 2;
        const at::Tensor x = ramp({count, 3, kTokens, backbone_.hidden_size}).to(device);
        const at::Tensor y = edges.forward(x, first_steps(device), items);
        y.sum().backward();
        std::vector<at::Tensor> results = {y.detach()};
        for (const at::Tensor& value : edges.parameters()) results.push_back(value.grad());
        return results;
      });
}

TEST_P(OtherDevice, the_heads_loss_stays_there) {
  const at::Tensor weight = ramp({backbone_.vocabulary, backbone_.hidden_size});
  const Sequence sequence = random_sequence(3, kTokens, backbone_.vocabulary, /*masked=*/true);
  expect_same([&](at::Device device) {
    const at::Tensor gradient = at::zeros(weight.sizes(), fp64_on(device));
    const HeadLoss loss = head_loss(input_.flatten(0, 1).to(device), weight.to(device),
                                    sequence.targets.flatten().to(device), sequence.learn.flatten().to(device), 0.5,
                                    /*want_gradient=*/true, gradient, 0.1);
    return std::vector{loss.sum, loss.hidden_gradient, gradient};
  });
}

TEST_P(OtherDevice, a_whole_network_trains) {
  const Trains all{.edges = true, .vertices = true, .embeddings = true, .head = true, .prefix = true};
  for (const char* topology : {"1", "1-2-1", "1-3-2-1"}) {
    const Graph graph = Graph::layered(topology);
    NetworkShape shape(backbone_);
    shape.prefix = 2;
    const Sequence sequence = random_sequence(4, kTokens, backbone_.vocabulary, /*masked=*/true);
    const auto run = [&](at::Device device, test::Tensors& gradients) {
      Network network(shape, graph, whole_placement(graph), 0, fp64_on(device));
      test::randomise(network);
      test::bind_gradients(network, all);
      const Layout layout = whole_layout(graph, sequence.rows());
      LocalExchange exchange;
      const Sequence here = on(device, sequence);
      const int before = test::values_read_back();
      const at::Tensor loss = Walk(network, layout, exchange, gradient_gaps(graph, all)).loss_and_gradients(here, 0.1);
      EXPECT_EQ(test::values_read_back(), before) << topology;
      EXPECT_EQ(loss.device(), device);
      gradients = test::gradients_of(network);
      return loss.cpu().item<double>();
    };
    test::Tensors actual, expected;
    EXPECT_NEAR(run(other_device(), actual), run(at::kCPU, expected), 1e-10) << topology;
    // The gradient of gpt2's key biases is rounding alone: attention does not change when all scores do.
    if (backbone_.gpt2()) std::erase_if(expected, [](const auto& item) { return item.first.ends_with(".k.bias"); });
    std::erase_if(actual, [&](const auto& item) { return !expected.contains(item.first); });
    test::expect_close(actual, expected, 1e-10);
  }
}

INSTANTIATE_TEST_SUITE_P(Model, OtherDevice, ::testing::Values("qwen2", "gpt2"));

TEST(InitialValue, is_drawn_on_the_host) {
  const Graph graph = Graph::layered("1");
  const Network network(test::tiny_backbone(), graph, whole_placement(graph), 0, fp64_on(other_device()));
  const Parameter& parameter = network.parameter_storage().front();
  EXPECT_TRUE(initial_value(parameter, parameter.views.front(), 1).is_cpu());
}

TEST(OtherDeviceItself, refuses_tensors_of_two_devices) {
  const at::Tensor here = at::ones({2, 3}), there = here.to(other_device());
  EXPECT_THROW(here + there, c10::Error);
  EXPECT_THROW(at::embedding(there, at::ones({2}, at::kLong)), c10::Error);
}

}  // namespace
}  // namespace lmnet
