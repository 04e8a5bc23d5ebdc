// Fused kernels against composite ATen, in bfloat16. Both sides are measured in turn, in random order, so that other
// load on the machine meets both; the last table gives the ratios of their medians.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <iomanip>
#include <map>
#include <string>
#include <vector>

#include "model/kernels/kernels.h"

namespace {

using Tensors = std::vector<at::Tensor>;
using Operator = std::function<Tensors(const Tensors&)>;

constexpr const char* fused_side = "fused";
constexpr const char* composite_side = "composite";

at::Tensor values(at::IntArrayRef shape) {
  return at::randn(shape).to(at::kBFloat16).requires_grad_();
}

int64_t bytes(const Tensors& tensors) {
  int64_t total = 0;
  for (const at::Tensor& tensor : tensors) {
    total += static_cast<int64_t>(tensor.nbytes());
  }
  return total;
}

void forward(benchmark::State& state, const Operator& op, const Tensors& inputs) {
  const at::NoGradGuard guard;
  int64_t moved = 0;
  for (auto _ : state) {
    moved = bytes(inputs) + bytes(op(inputs));
  }
  state.SetBytesProcessed(state.iterations() * moved);
}

void backward(benchmark::State& state, const Operator& op, const Tensors& inputs) {
  const Tensors outputs = op(inputs);
  Tensors upstream;
  for (const at::Tensor& output : outputs) {
    upstream.push_back(at::randn_like(output.detach()));
  }
  for (auto _ : state) {
    torch::autograd::grad(outputs, inputs, upstream, /*retain_graph=*/true);
  }
  state.SetBytesProcessed(state.iterations() * (2 * bytes(inputs) + bytes(outputs)));
}

void register_pair(const std::string& name, const Operator& fused, const Operator& composite, const Tensors& inputs) {
  for (const auto& [side, op] : {std::pair{fused_side, fused}, std::pair{composite_side, composite}}) {
    benchmark::RegisterBenchmark((name + "/forward/" + side).c_str(), forward, op, inputs)->UseRealTime();
    benchmark::RegisterBenchmark((name + "/backward/" + side).c_str(), backward, op, inputs)->UseRealTime();
  }
}

void register_swiglu() {
  const Operator composite = [](const Tensors& in) {
    const Tensors halves = in[0].chunk(2, -1);
    return Tensors{at::silu(halves[0]) * halves[1]};
  };
  const Operator fused = [](const Tensors& in) { return Tensors{lmnet::swiglu(in[0])}; };
  register_pair("swiglu_2048x2048", fused, composite, {values({2048, 2048})});
}

void register_rms_norm(int64_t modules) {
  const Operator composite = [](const Tensors& in) {
    const at::Tensor x = in[0].to(at::kFloat);
    return Tensors{(x * at::rsqrt(x.square().mean(-1, true) + 1e-5)).to(at::kBFloat16) * in[1].unsqueeze(1)};
  };
  const Operator fused = [](const Tensors& in) { return Tensors{lmnet::rms_norm(in[0], in[1], 1e-5)}; };
  register_pair("rms_norm_" + std::to_string(modules) + "x2048x256", fused, composite,
                {values({modules, 2048, 256}), values({modules, 256})});
}

void register_qkv_rotary() {
  constexpr int64_t N = 8, T = 256, H = 4, G = 2, K = 64;
  const at::Tensor cos = at::randn({T, K}), sin = at::randn({T, K});
  const Operator composite = [=](const Tensors& in) {
    Tensors parts = in[0].view({N, T, H + 2 * G, K}).transpose(1, 2).split_with_sizes({H, G, G}, 1);
    for (at::Tensor* part : {&parts[0], &parts[1]}) {
      const Tensors halves = part->chunk(2, -1);
      *part = *part * cos.to(at::kBFloat16) + at::cat({-halves[1], halves[0]}, -1) * sin.to(at::kBFloat16);
    }
    return parts;
  };
  const Operator fused = [=](const Tensors& in) {
    const auto [q, k, v] = lmnet::qkv_rotary(in[0], cos, sin, H, G, K);
    return Tensors{q, k, v};
  };
  register_pair("qkv_rotary_8x256x4+2x64", fused, composite, {values({N, T, (H + 2 * G) * K})});
}

// The attention of the same shape, for both layouts that qkv_rotary could return.
void register_attention_layouts() {
  constexpr int64_t N = 8, T = 256, H = 4, G = 2, K = 64;
  const Operator attend = [](const Tensors& in) {
    return Tensors{at::scaled_dot_product_attention(in[0], in[1], in[2], {}, 0.0, true, std::nullopt, true)};
  };
  const Operator attend_transposed = [=](const Tensors& in) {
    return attend({in[0].transpose(1, 2), in[1].transpose(1, 2), in[2].transpose(1, 2)});
  };
  const auto pass = [](const char* layout, const Operator& op, const Tensors& inputs) {
    const auto name = std::string("attention_") + layout;
    benchmark::RegisterBenchmark((name + "/forward").c_str(), forward, op, inputs)->UseRealTime();
    benchmark::RegisterBenchmark((name + "/backward").c_str(), backward, op, inputs)->UseRealTime();
  };
  pass("NHTK", attend, {values({N, H, T, K}), values({N, G, T, K}), values({N, G, T, K})});
  pass("NTHK", attend_transposed, {values({N, T, H, K}), values({N, T, G, K}), values({N, T, G, K})});
}

// Attention inside documents of so many tokens, against causal attention over the whole row.
void register_document_attention(int64_t N, int64_t T, int64_t document) {
  constexpr int64_t H = 4, G = 2, K = 64;
  std::vector<int64_t> starts;
  for (int64_t start = 0; start < T; start += document) starts.push_back(start);
  const std::vector<std::vector<int64_t>> documents(N, starts);
  const Operator causal = [=](const Tensors& in) {
    return Tensors{at::scaled_dot_product_attention(in[0], in[1], in[2], {}, 0.0, true, std::nullopt, true)
                       .transpose(1, 2)
                       .reshape({N, T, H * K})};
  };
  const Operator inside = [=](const Tensors& in) {
    return Tensors{lmnet::document_attention(in[0], in[1], in[2], documents, 0.125)};
  };
  register_pair(
      "causal_over_documents_of_" + std::to_string(document) + "_in_" + std::to_string(N) + "x" + std::to_string(T),
      inside, causal, {values({N, H, T, K}), values({N, G, T, K}), values({N, G, T, K})});
}

void register_cross_entropy() {
  constexpr int64_t M = 256, V = 32000;
  const at::Tensor targets = at::randint(V, {M}, at::kLong), mask = at::ones({M}, at::kBool);
  const at::Tensor original = values({M, V}).detach();
  // Both write the gradient over the logits; what the numbers become does not change the time.
  const auto fused = [=](benchmark::State& state) {
    at::Tensor logits = original.clone(), losses = at::empty({M});
    for (auto _ : state) {
      lmnet::cross_entropy_inplace(logits, targets, mask, 1.0, losses, true);
    }
    state.SetBytesProcessed(state.iterations() * 2 * static_cast<int64_t>(logits.nbytes()));
  };
  const auto composite = [=](benchmark::State& state) {
    at::Tensor logits = original.clone();
    for (auto _ : state) {
      const at::Tensor log_p = at::log_softmax(logits, -1, at::kFloat);
      const at::Tensor losses = -log_p.gather(1, targets.unsqueeze(1));
      const at::Tensor gradient = log_p.exp().scatter_add(1, targets.unsqueeze(1), at::full({M, 1}, -1.0));
      logits.copy_(gradient);
    }
    state.SetBytesProcessed(state.iterations() * 2 * static_cast<int64_t>(logits.nbytes()));
  };
  benchmark::RegisterBenchmark("cross_entropy_256x32000/fused", fused)->UseRealTime();
  benchmark::RegisterBenchmark("cross_entropy_256x32000/composite", composite)->UseRealTime();
}

// What the machine can do at best: a copy of 8 MiB.
void copy_memory(benchmark::State& state) {
  const at::Tensor from = at::ones({2048, 2048}, at::kBFloat16), to = at::empty_like(from);
  for (auto _ : state) {
    to.copy_(from);
  }
  state.SetBytesProcessed(state.iterations() * 2 * static_cast<int64_t>(from.nbytes()));
}

class RatioReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.aggregate_name == "median") {
        medians_[run.run_name.function_name] = run.GetAdjustedRealTime();
      }
    }
  }

  void Finalize() override {
    std::ostream& out = GetOutputStream();
    out << "\nTime of composite ATen over time of the fused kernel (" << at::get_num_threads() << " threads):\n"
        << std::fixed << std::setprecision(2);
    for (const auto& [name, time] : medians_) {
      const size_t side = name.rfind(composite_side);
      if (side == std::string::npos) {
        continue;
      }
      const auto fused = medians_.find(name.substr(0, side) + fused_side);
      if (fused != medians_.end()) {
        out << "  " << std::left << std::setw(40) << name.substr(0, side - 1) << time / fused->second << '\n';
      }
    }
  }

 private:
  std::map<std::string, double> medians_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string defaults[] = {"--benchmark_repetitions=9", "--benchmark_enable_random_interleaving=true",
                            "--benchmark_min_time=0.05", "--benchmark_report_aggregates_only=true"};
  for (std::string& argument : defaults) {
    arguments.insert(arguments.begin() + 1, argument.data());
  }
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) {
    return 1;
  }
  benchmark::RegisterBenchmark("copy_8MiB", copy_memory)->UseRealTime();
  register_swiglu();
  register_rms_norm(1);
  register_rms_norm(16);
  register_qkv_rotary();
  register_attention_layouts();
  for (const int64_t document : {16, 64, 128, 256}) register_document_attention(32, 256, document);
  for (const int64_t document : {100, 512, 2048}) register_document_attention(4, 2048, document);
  register_cross_entropy();
  RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
}
