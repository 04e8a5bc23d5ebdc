#include "trainer/hugging_face/reference_names.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;

BackboneConfig backbone(BackboneConfig::Family family) {
  BackboneConfig config;
  config.family = family;
  config.hidden_size = 8;
  config.blocks = 2;
  return config;
}

const NetworkShape kGpt2(backbone(BackboneConfig::Family::gpt2)), kQwen2(backbone(BackboneConfig::Family::qwen2));

Graph gpt2_graph(std::string_view topology) {
  const EdgeKind attention = EdgeKind::attention;
  return Graph::layered(topology, {.aggregation = Aggregation::sum,
                                   .edge = {attention},
                                   .input_edge = {attention, attention, attention},
                                   .residual = true});
}

Graph causal_graph(std::string_view topology, Sharing sharing = Sharing::all) {
  return Graph::layered(topology, {.sharing = sharing, .input_edge = {EdgeKind::block}});
}

std::string causal_name(std::string_view canonical) {
  return reference_tensor(ReferenceClass::causal, kQwen2, causal_graph("1-2-2-1"), canonical).name;
}

TEST(ReferenceNames, TextEndsAndVertices) {
  EXPECT_EQ(causal_name("embeddings.tokens.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(causal_name("head.weight"), "lm_head.weight");
  EXPECT_EQ(causal_name("vertices.shared.norm.weight"), "model.norm.weight");
  EXPECT_EQ(causal_name("vertices.shared.blocks.1.mlp.down.weight"), "model.layers.1.mlp.down_proj.weight");
}

// ws: the input edges, then gap by gap, source-major.
TEST(ReferenceNames, EdgesOfACausalNetworkAreNumberedFromTheInput) {
  EXPECT_EQ(causal_name("edges.input.0-0.fc.bias"), "ws.0.fc.bias");
  EXPECT_EQ(causal_name("edges.0.0-1.fc.bias"), "ws.2.fc.bias");
  EXPECT_EQ(causal_name("edges.1.0-1.block.attention.q.weight"), "ws.4.model.self_attn.q_proj.weight");
  EXPECT_EQ(causal_name("edges.1.1-0.fc.weight"), "ws.5.fc.weight");
  EXPECT_EQ(causal_name("edges.2.1-0.block.mlp_norm.weight"), "ws.8.model.post_attention_layernorm.weight");
}

TEST(ReferenceNames, ALevelKeepsTheNumbersOfVerticesThatLeadNowhere) {
  const Graph graph = causal_graph("2-2-3");
  EXPECT_EQ(reference_tensor(ReferenceClass::causal, kQwen2, graph, "edges.1.1-0.fc.bias").name, "ws.9.fc.bias");
}

// ws: the gaps, then the three input blocks, which run from the last to the first.
TEST(ReferenceNames, InputBlocksOfGpt2RunFromTheEnd) {
  const Graph graph = gpt2_graph("1-2-1");
  const auto name = [&](std::string_view canonical) {
    return reference_tensor(ReferenceClass::gpt2, kGpt2, graph, canonical).name;
  };
  EXPECT_EQ(name("edges.0.0-1.mlp.weight"), "ws.1.mlp.weight");
  EXPECT_EQ(name("edges.1.1-0.norm.bias"), "ws.3.ln_2.bias");
  EXPECT_EQ(name("edges.input.0-0.links.0.mlp.bias"), "ws.6.mlp.bias");
  EXPECT_EQ(name("edges.input.0-0.links.2.mlp.bias"), "ws.4.mlp.bias");
  EXPECT_EQ(name("embeddings.prefix"), "pfx");
  EXPECT_EQ(name("embeddings.positions.weight"), "node.transformer.wpe.weight");
  EXPECT_EQ(name("vertices.shared.norm.bias"), "node.transformer.ln_f.bias");
}

TEST(ReferenceNames, QueryKeyAndValueAreThirdsOfOneTensorOfGpt2) {
  const Graph graph = gpt2_graph("1-1");
  const auto of_vertex =
      reference_tensor(ReferenceClass::gpt2, kGpt2, graph, "vertices.shared.blocks.0.attention.k.weight");
  EXPECT_EQ(of_vertex.name, "node.transformer.h.0.attn.c_attn.weight");
  EXPECT_TRUE(of_vertex.transposed);  // MergedLinear keeps [in, 3D]
  EXPECT_EQ(of_vertex.begin, 8);
  EXPECT_EQ(of_vertex.end, 16);
  const auto of_edge = reference_tensor(ReferenceClass::gpt2, kGpt2, graph, "edges.0.0-0.attention.v.weight");
  EXPECT_EQ(of_edge.name, "ws.0.attn.c_attn.weight");
  EXPECT_FALSE(of_edge.transposed);
  EXPECT_EQ(of_edge.begin, 16);
  const auto output = reference_tensor(ReferenceClass::gpt2, kGpt2, graph, "edges.0.0-0.attention.o.weight");
  EXPECT_EQ(output.name, "ws.0.attn.c_proj.weight");
  EXPECT_TRUE(output.transposed);
}

TEST(ReferenceNames, SeparateVerticesAreNumberedInOrderOfExecution) {
  const Graph graph = Graph::layered("1-2-1", {.sharing = Sharing::none});
  NetworkShape shape = kQwen2;
  shape.classes = 4;
  const auto name = [&](std::string_view canonical) {
    return reference_tensor(ReferenceClass::classifier_separate, shape, graph, canonical).name;
  };
  EXPECT_EQ(name("vertices.1-1.blocks.0.attention_norm.weight"), "ms.2.layers.0.input_layernorm.weight");
  EXPECT_EQ(name("vertices.2-0.norm.weight"), "ms.3.norm.weight");
  EXPECT_EQ(name("embeddings.tokens.weight"), "ms.0.embed_tokens.weight");
  EXPECT_EQ(name("edges.0.0-0.fc.bias"), "ws.0.fc.bias");  // there is no input edge
  EXPECT_EQ(name("head.weight"), "score.weight");
}

TEST(ReferenceNames, AViewReadsAndWritesTheStoredTensor) {
  const at::Tensor stored = at::arange(6.0).view({2, 3});  // [in, 3] of one third each
  const at::Tensor view = reference_view({"x", /*transposed=*/true, 1, 2}, stored);
  EXPECT_TRUE(view.equal(at::tensor({1.0f, 4.0f}).view({1, 2})));
  view.zero_();
  EXPECT_EQ(stored[1][1].item<float>(), 0);
  EXPECT_EQ(reference_view({"pfx"}, at::zeros({1, 5, 8})).sizes(), (at::IntArrayRef{5, 8}));
}

TEST(ReferenceNames, WhatAClassDoesNotHaveIsRefusedByName) {
  const auto refusal = [](ReferenceClass cls, const NetworkShape& shape, const Graph& graph, std::string_view name) {
    try {
      reference_tensor(cls, shape, graph, name);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const Graph shared = causal_graph("1-2-1"), levels = causal_graph("1-2-1", Sharing::level);
  EXPECT_THAT(refusal(ReferenceClass::gpt2, kGpt2, gpt2_graph("1-1"), "head.weight"), HasSubstr("head.weight"));
  EXPECT_THAT(refusal(ReferenceClass::causal, kQwen2, levels, "vertices.level1.norm.weight"), HasSubstr("level1"));
  EXPECT_THAT(refusal(ReferenceClass::causal, kQwen2, shared, "edges.0.0-9.fc.bias"), HasSubstr("edges.0.0-9"));
  const Graph named = Graph::explicit_graph({{"a", ""}}, {{"input", "a"}, {"a", "head"}});
  EXPECT_THAT(refusal(ReferenceClass::causal, kQwen2, named, "embeddings.tokens.weight"), HasSubstr("explicit"));
}

}  // namespace
}  // namespace lmnet
