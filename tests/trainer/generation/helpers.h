#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "parallel/thread_communicator.h"
#include "trainer/config/config.h"
#include "trainer/generation/decoder.h"
#include "trainer/model_spec.h"

namespace lmnet::testing {

using Ids = std::vector<int32_t>;

/// A network of one process with weights of its own.
struct LoneNetwork {
  std::unique_ptr<Communicator> alone = std::move(make_thread_communicators(1).front());
  Mesh mesh{*alone, 1};
  Engine engine;

  LoneNetwork(const NetworkShape& shape, const Graph& graph, at::ScalarType dtype)
      : engine(shape, graph, dtype, OptimizerConfig{}, mesh) {}
  LoneNetwork(const ModelSpec& spec, at::ScalarType dtype) : LoneNetwork(spec.shape, spec.graph, dtype) {}

  void assign(const std::string& name, const at::Tensor& value) {
    engine.optimizer().assign(name, value.to(engine.optimizer().state(name).value.options()));
  }

  /// Logits of the token after `ids`, by one forward without a cache: [V].
  at::Tensor next(const Ids& ids) { return all(ids)[-1]; }
  /// The same after each of them: [T, V].
  at::Tensor all(const Ids& ids) {
    const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
    return engine.logits(engine.hidden({tokens, {}, {}})[0]);
  }
};

/// The network of a config's text, in fp32 unless told otherwise, whose weights are drawn.
struct ConfiguredNetwork : LoneNetwork {
  explicit ConfiguredNetwork(const std::string& yaml, at::ScalarType dtype = at::kFloat)
      : LoneNetwork(resolve_model(parse_config(yaml, "test.yaml").model), dtype) {
    engine.initialize(3);
  }
};

/// A network whose next token depends on the last one alone: the logits after token i are row i of `table` [V, V].
struct ChainNetwork : LoneNetwork {
  explicit ChainNetwork(const at::Tensor& table)
      : LoneNetwork(shape_for(table.size(0)), Graph::layered("1"), at::kDouble) {
    const int64_t tokens = table.size(0);
    for (const std::string& name : engine.optimizer().names()) {
      const at::Tensor value = engine.optimizer().state(name).value;
      assign(name, name.find("norm") == std::string::npos ? at::zeros_like(value) : at::ones_like(value));
    }
    assign("embeddings.tokens.weight", at::eye(tokens));  // which the norm makes √V as large
    assign("head.weight", table.t() / std::sqrt(static_cast<double>(tokens)));
  }

 private:
  static NetworkShape shape_for(int64_t tokens) {
    BackboneConfig b;
    b.hidden_size = b.vocabulary = tokens;
    b.intermediate_size = b.head_width = 2;
    b.blocks = b.heads = b.kv_heads = 1;
    b.norm_eps = 1e-300;
    return b;
  }
};

}  // namespace lmnet::testing
