#include "model/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/model/twin.h"

namespace lmnet {
namespace {

using test::tiny_backbone;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

Network whole_network(const Graph& graph, const BackboneConfig& backbone = tiny_backbone()) {
  return {backbone, graph, whole_placement(graph), 0, at::kFloat};
}

std::vector<std::string> names(const Network& network) {
  std::vector<std::string> all;
  for (const Parameter& parameter : network.parameter_storage())
    for (const View& view : parameter.views) all.push_back(view.name);
  return all;
}

TEST(Network, parameters_have_canonical_names) {
  const std::vector<std::string> all = names(whole_network(Graph::layered("1-2-1", {.input_edge = {EdgeKind::block}})));
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), all.size());
  EXPECT_THAT(all,
              IsSupersetOf({"embeddings.tokens.weight", "vertices.shared.blocks.1.attention.q.weight",
                            "vertices.shared.blocks.0.attention.k.bias", "vertices.shared.blocks.0.mlp.gate.weight",
                            "vertices.shared.norm.weight", "edges.input.0-0.fc.bias", "edges.0.0-1.fc.weight",
                            "edges.1.1-0.block.attention.o.weight", "edges.1.0-0.block.mlp_norm.weight"}));
  for (const std::string& name : all) EXPECT_EQ(name.find("head"), std::string::npos) << "tied, and identity edges";
}

TEST(Network, an_untied_head_is_a_parameter_of_its_own) {
  Network tied = whole_network(Graph::layered("1")),
          untied = whole_network(Graph::layered("1"), tiny_backbone("llama", false));
  EXPECT_EQ(tied.head().views[0].name, "embeddings.tokens.weight");
  EXPECT_EQ(tied.head().part, Parameter::Part::embeddings);
  EXPECT_EQ(untied.head().views[0].name, "head.weight");
  EXPECT_EQ(untied.head().part, Parameter::Part::head);
}

TEST(Network, only_qwen2_has_biases_at_query_key_and_value) {
  for (const char* family : {"llama", "qwen2"}) {
    std::set<std::string> biases;
    for (const std::string& name : names(whole_network(Graph::layered("1"), tiny_backbone(family))))
      if (name.ends_with(".bias")) biases.insert(name);
    EXPECT_THAT(biases, SizeIs(family == std::string("qwen2") ? 2 * 3 : 0)) << family;
  }
}

TEST(Network, the_edges_of_a_gap_are_one_stack_and_the_views_cover_it) {
  const Network network = whole_network(Graph::layered("1-2-1"));
  ASSERT_THAT(network.edge_groups(0), SizeIs(1));
  EXPECT_THAT(network.edge_groups(0)[0].edges, ElementsAre(1, 2));
  EXPECT_THAT(network.edge_groups(-1), SizeIs(0)) << "identity edges have no weights";
  for (const Parameter& parameter : network.parameter_storage()) {
    std::vector<int64_t> covered(parameter.value.size(0), 0);
    for (const View& view : parameter.views) {
      EXPECT_EQ(view.offset, covered[view.item]) << view.name;
      covered[view.item] += view.length;
    }
    EXPECT_THAT(covered, ::testing::Each(parameter.value.size(1))) << parameter.views[0].name;
  }
}

TEST(Network, separate_weights_are_separate_vertices) {
  std::set<std::string> groups;
  for (const std::string& name : names(whole_network(Graph::layered("1-2-1", {.sharing = Sharing::none}))))
    if (name.starts_with("vertices.")) groups.insert(name.substr(0, name.find('.', 9)));
  EXPECT_THAT(groups, UnorderedElementsAre("vertices.0-0", "vertices.1-0", "vertices.1-1", "vertices.2-0"));
}

TEST(Network, a_rank_has_what_it_holds_in_the_order_of_all_holders) {
  const Graph graph = Graph::layered("1-3-1", {.input_edge = {EdgeKind::block}});
  Placement placement = whole_placement(graph);
  placement.groups["shared"] = placement.embedding = placement.head = {0, 1};
  for (size_t e = 0; e < graph.edges().size(); ++e)
    placement.edges[e] = e % 3 == 0 ? Holders{0, 1} : e % 3 == 1 ? Holders{0} : Holders{1};
  const Network here(tiny_backbone(), graph, placement, 0, at::kFloat),
      there(tiny_backbone(), graph, placement, 1, at::kFloat);
  auto shared = [](const Network& network) {
    std::vector<std::string> all;
    for (const Parameter& parameter : network.parameter_storage())
      if (parameter.holders == Holders{0, 1}) all.push_back(parameter.views[0].name);
    return all;
  };
  EXPECT_EQ(shared(here), shared(there));
  for (const std::string& name : names(here)) {
    for (size_t e = 0; e < graph.edges().size(); ++e)
      EXPECT_FALSE(name.starts_with(graph.edges()[e].name + ".") && placement.edges[e] == Holders{1}) << name;
  }
}

TEST(Network, nothing_trains_before_a_stage_says_so) {
  const Network network = whole_network(Graph::layered("1-2-1"));
  for (const Parameter& parameter : network.parameter_storage()) {
    EXPECT_FALSE(parameter.value.requires_grad()) << parameter.views[0].name;
    EXPECT_FALSE(parameter.gradient.defined()) << parameter.views[0].name;
  }
}

TEST(CountParameters, counts_what_the_network_allocates) {
  for (const char* family : {"llama", "qwen2"})
    for (bool tied : {true, false})
      for (Sharing sharing : {Sharing::all, Sharing::level, Sharing::none})
        for (const EdgeKinds& input_edge : {EdgeKinds{}, EdgeKinds{EdgeKind::block}}) {
          const Graph graph = Graph::layered("1-2-1", {.sharing = sharing, .input_edge = input_edge});
          const ParameterCount count = count_parameters(tiny_backbone(family, tied), graph);
          std::map<Parameter::Part, int64_t> allocated;
          const Network network = whole_network(graph, tiny_backbone(family, tied));
          for (const Parameter& parameter : network.parameter_storage())
            allocated[parameter.part] += parameter.value.numel();
          using enum Parameter::Part;
          EXPECT_EQ(count.vertices, allocated[vertices]);
          EXPECT_EQ(count.edges, allocated[edges]);
          EXPECT_EQ(count.embeddings, allocated[embeddings]);
          EXPECT_EQ(count.head, allocated[head]);
          EXPECT_EQ(count.trainable({.edges = true, .head = true}), count.edges + count.head);
          EXPECT_EQ(count.trainable({true, true, true, true}), count.total());
        }
}

}  // namespace
}  // namespace lmnet
