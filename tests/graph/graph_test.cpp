#include "model/graph/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

const EdgeKinds block = {EdgeKind::block}, attention = {EdgeKind::attention}, mlp = {EdgeKind::mlp}, identity;

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> edge_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Edge& edge : graph.edges()) names.push_back(edge.name);
  return names;
}

std::vector<int> level_sizes(const Graph& graph) {
  std::vector<int> sizes;
  for (int l = 0; l < graph.levels(); ++l) sizes.push_back(static_cast<int>(graph.level(l).size()));
  return sizes;
}

std::vector<std::string> groups(const Graph& graph) {
  std::vector<std::string> names;
  for (const Vertex& vertex : graph.vertices()) names.push_back(vertex.group);
  return names;
}

/// What the ConfigError of `action` says.
template <typename Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no ConfigError";
  return "";
}

std::string refused(std::vector<ExplicitVertex> vertices, const std::vector<ExplicitEdge>& edges) {
  return refusal([&] { Graph::explicit_graph(std::move(vertices), edges); });
}

TEST(Graph, a_topology_gives_the_sizes_of_its_levels) {
  EXPECT_THAT(level_sizes(Graph::layered("1")), ElementsAre(1));
  EXPECT_THAT(level_sizes(Graph::layered("1-2-1")), ElementsAre(1, 2, 1));
  EXPECT_THAT(level_sizes(Graph::layered("2-3-1")), ElementsAre(2, 3, 1));
  EXPECT_THAT(level_sizes(Graph::layered("1-4-4-4-1")), ElementsAre(1, 4, 4, 4, 1));
  EXPECT_EQ(Graph::layered("1-4-4-4-1").topology(), "1-4-4-4-1");
}

TEST(Graph, vertices_of_neighbouring_levels_are_all_joined) {
  const Graph graph = Graph::layered("1-4-4-4-1");
  EXPECT_EQ(graph.vertices().size(), 14u);
  EXPECT_EQ(graph.edges().size(), 1u + 40u + 1u);  // from the input, between levels, to the head
  for (int v : graph.level(2)) {
    EXPECT_EQ(graph.edges_into(v).size(), 4u);
    EXPECT_EQ(graph.edges_from(v).size(), 4u);
  }
  EXPECT_EQ(graph.edges_from(Graph::input).size(), 1u);
  EXPECT_EQ(graph.edges_into(graph.head()).size(), 1u);
  EXPECT_THAT(graph.level(graph.levels()), ElementsAre(graph.head()));
}

TEST(Graph, edges_between_vertices_have_the_edge_kind_and_the_ends_are_identities) {
  GraphOptions options;
  options.edge = attention;
  for (const EdgeKinds& input_edge : {identity, block, EdgeKinds{EdgeKind::mlp, EdgeKind::linear}}) {
    options.input_edge = input_edge;
    const Graph graph = Graph::layered("2-2-1", options);
    for (const Edge& edge : graph.edges())
      EXPECT_EQ(edge.kinds, edge.source == Graph::input        ? input_edge
                            : edge.destination == graph.head() ? identity
                                                               : attention)
          << edge.name;
  }
}

TEST(Graph, kinds_of_edges_have_names_and_chains_are_joined) {
  for (const char* name : {"block", "attention", "mlp", "linear", "identity"})
    EXPECT_EQ(to_string(parse_edge_kind(name)), name);
  EXPECT_THAT(parse_edge_kind("identity"), IsEmpty());
  EXPECT_EQ(to_string(EdgeKinds{EdgeKind::attention, EdgeKind::attention, EdgeKind::mlp}), "attention+attention+mlp");
  EXPECT_EQ(refusal([] { parse_edge_kind("blok"); }),
            "\"blok\" is no kind of edge: block, attention, mlp, linear and identity are");
}

TEST(Graph, a_residual_leads_from_the_first_vertex_to_the_head_which_adds) {
  const Graph graph = Graph::layered("1-2-1", {.residual = true});
  EXPECT_THAT(edge_names(graph), ElementsAre("edges.input.0-0", "edges.0.0-0", "edges.0.0-1", "edges.0-head.0-0",
                                             "edges.1.0-0", "edges.1.1-0", "edges.2-head.0-0"));
  EXPECT_EQ(graph.edges()[3].kinds, identity);
  EXPECT_EQ(graph.input_scale(graph.head()), 1);
  EXPECT_EQ(graph.input_scale(3), 0.5) << "only the head adds: the vertices go by the aggregation";
  EXPECT_NE(graph.describe(), Graph::layered("1-2-1").describe());
}

TEST(Graph, a_residual_that_makes_no_sense_is_refused) {
  EXPECT_EQ(refusal([] { Graph::layered("1", {.residual = true}); }),
            "a residual from the first vertex to the head needs two levels or more, topology 1 has one");
  EXPECT_THAT(refusal([] { Graph::layered("1-2", {.output = Output::mean, .residual = true}); }),
              HasSubstr("take first or sum"));
  EXPECT_NO_THROW(Graph::layered("1-2", {.output = Output::sum, .residual = true}));
}

TEST(Graph, edges_are_named_by_gap_source_and_destination) {
  EXPECT_THAT(edge_names(Graph::layered("2-1-2", {.output = Output::mean})),
              ElementsAre("edges.input.0-0", "edges.input.0-1", "edges.0.0-0", "edges.0.1-0", "edges.1.0-0",
                          "edges.1.0-1", "edges.2-head.0-0", "edges.2-head.1-0"));
  std::vector<std::string> names = edge_names(Graph::layered("1-4-4-4-1"));
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
  EXPECT_THAT(names, ::testing::IsSupersetOf({"edges.1.0-3", "edges.3.2-0", "edges.input.0-0", "edges.4-head.0-0"}));
}

TEST(Graph, skips_are_named_by_both_levels) {
  const Graph graph = Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}},
                                            {{"input", "a"},
                                             {"a", "b"},
                                             {"b", "c"},
                                             {"c", "d"},
                                             {"d", "head"},
                                             {"a", "d"},
                                             {"input", "c", EdgeKinds{EdgeKind::mlp, EdgeKind::linear}},
                                             {"b", "head", block}});
  EXPECT_THAT(edge_names(graph), ElementsAre("edges.input.0-0", "edges.input-2.0-0", "edges.0.0-0", "edges.0-3.0-0",
                                             "edges.1.0-0", "edges.1-head.0-0", "edges.2.0-0", "edges.3-head.0-0"));
  EXPECT_EQ(graph.edges()[1].kinds, (EdgeKinds{EdgeKind::mlp, EdgeKind::linear}));
  EXPECT_EQ(graph.edges()[5].kinds, block);
  EXPECT_EQ(graph.edges()[7].kinds, identity);
}

TEST(Graph, text_that_is_no_topology_is_refused_with_an_example) {
  for (const char* text :
       {"", "0", "1-0-1", "-1", "1-", "1--2", "1-x", "1 - 2", " 1", "1.5", "+1", "1-4097", "99999999999", "1_2"}) {
    const std::string message = refusal([&] { Graph::layered(text); });
    EXPECT_THAT(message, HasSubstr(std::string("\"") + text + "\" is no topology"));
    EXPECT_THAT(message, HasSubstr("1-4-4-4-1"));
  }
}

TEST(Graph, a_level_is_the_longest_path_from_the_input) {
  // c is reached directly, over a, and over a and b.
  const Graph graph =
      Graph::explicit_graph({{"c", ""}, {"b", ""}, {"a", ""}},
                            {{"input", "a"}, {"input", "c"}, {"a", "c"}, {"a", "b"}, {"b", "c"}, {"c", "head"}});
  EXPECT_THAT(level_sizes(graph), ElementsAre(1, 1, 1));
  EXPECT_EQ(graph.vertices()[0].name, "a");
  EXPECT_EQ(graph.vertices()[1].name, "b");
  EXPECT_EQ(graph.vertices()[2].name, "c");
  EXPECT_EQ(graph.level_of(graph.head()), 3);
  for (const Edge& edge : graph.edges())
    EXPECT_LT(edge.source == Graph::input ? -1 : graph.level_of(edge.source), graph.level_of(edge.destination));
}

TEST(Graph, a_vertex_that_cannot_reach_the_head_is_left_out_with_a_warning) {
  const Graph graph = Graph::layered("1-2");
  EXPECT_THAT(level_sizes(graph), ElementsAre(1, 1));
  EXPECT_EQ(graph.topology(), "1-2");
  EXPECT_THAT(graph.warnings(), ElementsAre("vertex 1-1 cannot reach the head and is left out"));
  EXPECT_THAT(edge_names(graph), ElementsAre("edges.input.0-0", "edges.0.0-0", "edges.1-head.0-0"));
}

TEST(Graph, vertices_after_one_that_was_left_out_keep_their_names) {
  const Graph graph = Graph::explicit_graph({{"a", ""}, {"dead", ""}, {"b", ""}},
                                            {{"input", "a"}, {"a", "dead"}, {"a", "b"}, {"b", "head"}});
  EXPECT_EQ(graph.warnings().size(), 1u);
  EXPECT_EQ(graph.vertices()[1].name, "b");
  EXPECT_THAT(edge_names(graph), ElementsAre("edges.input.0-0", "edges.0.0-1", "edges.1-head.1-0"));
}

TEST(Graph, output_says_what_the_head_reads) {
  const Graph first = Graph::layered("1-2"), mean = Graph::layered("1-2", {.output = Output::mean}),
              sum = Graph::layered("1-2", {.output = Output::sum});
  EXPECT_EQ(first.edges_into(first.head()).size(), 1u);
  EXPECT_EQ(first.input_scale(first.head()), 1);
  EXPECT_EQ(mean.edges_into(mean.head()).size(), 2u);
  EXPECT_EQ(mean.input_scale(mean.head()), 0.5);
  EXPECT_EQ(sum.edges_into(sum.head()).size(), 2u);
  EXPECT_EQ(sum.input_scale(sum.head()), 1);
  EXPECT_THAT(mean.warnings(), IsEmpty());
}

TEST(Graph, a_mean_divides_by_all_edges_into_the_vertex) {
  const std::vector<ExplicitEdge> edges = {{"input", "a"}, {"input", "b"}, {"a", "c"},   {"b", "c"},
                                           {"input", "c"}, {"c", "head"},  {"a", "head"}};
  const Graph mean = Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}}, edges);
  EXPECT_EQ(mean.input_scale(0), 1);
  EXPECT_EQ(mean.input_scale(2), 1.0 / 3);
  EXPECT_EQ(mean.input_scale(mean.head()), 0.5);
  const Graph sum = Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}}, edges, {.aggregation = Aggregation::sum});
  EXPECT_EQ(sum.input_scale(2), 1);
  EXPECT_EQ(sum.input_scale(sum.head()), 1);
}

TEST(Graph, sharing_deals_vertices_into_weight_groups) {
  EXPECT_THAT(groups(Graph::layered("1-2-1")), ElementsAre("shared", "shared", "shared", "shared"));
  EXPECT_THAT(groups(Graph::layered("1-2-1", {.sharing = Sharing::level})),
              ElementsAre("level0", "level1", "level1", "level2"));
  EXPECT_THAT(groups(Graph::layered("1-2-1", {.sharing = Sharing::none})), ElementsAre("0-0", "1-0", "1-1", "2-0"));
  const Graph named = Graph::explicit_graph(
      {{"a", "outer"}, {"b", "inner"}, {"c", "inner"}, {"d", "outer"}},
      {{"input", "a"}, {"a", "b"}, {"a", "c"}, {"b", "d"}, {"c", "d"}, {"d", "head"}}, {.sharing = Sharing::groups});
  EXPECT_THAT(groups(named), ElementsAre("outer", "inner", "inner", "outer"));
}

TEST(Graph, a_level_is_separate_when_its_vertices_have_weights_of_their_own) {
  const Graph shared = Graph::layered("1-2-1"), own = Graph::layered("1-2-1", {.sharing = Sharing::none});
  for (int l = 0; l <= 3; ++l) {
    EXPECT_FALSE(shared.separate(l));
    EXPECT_EQ(own.separate(l), l < 3) << "the head is cut by rows always";
  }
  EXPECT_FALSE(Graph::layered("1-2-1", {.sharing = Sharing::level}).separate(1));
}

TEST(Graph, cycles_are_refused_and_a_vertex_on_them_is_named) {
  EXPECT_THAT(refused({{"after", ""}, {"a", ""}, {"b", ""}},
                      {{"input", "a"}, {"a", "b"}, {"b", "a"}, {"b", "after"}, {"after", "head"}}),
              AnyOf("the graph has a cycle through vertex a", "the graph has a cycle through vertex b"));
  EXPECT_THAT(refused({{"a", ""}}, {{"input", "a"}, {"a", "a"}, {"a", "head"}}), HasSubstr("cycle through vertex a"));
}

TEST(Graph, names_and_ends_that_do_not_fit_are_refused) {
  const std::vector<ExplicitEdge> path = {{"input", "a"}, {"a", "head"}};
  EXPECT_THAT(refused({{"a", ""}}, {{"input", "b"}}), HasSubstr("names \"b\", which is neither a vertex nor head"));
  EXPECT_THAT(refused({{"a", ""}}, {{"x", "a"}}), HasSubstr("names \"x\", which is neither a vertex nor input"));
  EXPECT_THAT(refused({{"a", ""}}, {{"head", "a"}}), HasSubstr("neither a vertex nor input"));
  EXPECT_THAT(refused({{"a", ""}}, {{"a", "input"}}), HasSubstr("neither a vertex nor head"));
  EXPECT_THAT(refused({{"a", ""}, {"a", ""}}, path), HasSubstr("vertex a stands twice"));
  for (const char* name : {"", "input", "head", "a.b", "a/b", "a b", "a@1"}) {
    EXPECT_THAT(refused({{name, ""}}, path), HasSubstr("cannot name a vertex or group"));
  }
  EXPECT_THAT(refused({{"a", "head"}}, path), HasSubstr("\"head\" cannot name a vertex or group"));
}

TEST(Graph, a_named_group_takes_in_no_vertex_that_did_not_name_it) {
  EXPECT_THAT(refusal([] {
                Graph::explicit_graph({{"a", "b"}, {"b", ""}}, {{"input", "a"}, {"a", "b"}, {"b", "head"}},
                                      {.sharing = Sharing::none});
              }),
              HasSubstr("vertex b falls into group b by model.sharing"));
}

TEST(Graph, edges_that_make_no_sense_are_refused) {
  EXPECT_THAT(refused({{"a", ""}}, {{"input", "a"}, {"a", "head"}, {"input", "a", block}}),
              HasSubstr("edge input → a stands twice"));
  EXPECT_THAT(refused({{"a", ""}}, {{"input", "a"}, {"a", "head"}, {"input", "head"}}),
              HasSubstr("input to head skips every vertex"));
  EXPECT_THAT(refused({{"a", ""}, {"b", ""}}, {{"input", "a"}, {"a", "head"}, {"b", "a"}}),
              HasSubstr("the input does not reach vertex b"));
  EXPECT_THAT(refused({{"a", ""}}, {{"input", "a"}}), HasSubstr("no vertex reaches the head"));
  EXPECT_THAT(refused({}, {}), HasSubstr("no vertex reaches the head"));
}

TEST(Graph, descriptions_are_equal_only_for_equal_graphs) {
  std::set<std::string> descriptions;
  size_t count = 0;
  for (const char* topology : {"1", "1-2-1", "2-1-1", "1-2"})
    for (Sharing sharing : {Sharing::all, Sharing::level, Sharing::none, Sharing::groups})
      for (Output output : {Output::first, Output::mean})
        for (const EdgeKinds& input_edge : {identity, block, mlp}) {
          if (output == Output::mean && topology != std::string("1-2")) continue;  // one vertex: the same graph
          descriptions.insert(
              Graph::layered(topology, {.sharing = sharing, .output = output, .input_edge = input_edge}).describe());
          ++count;
        }
  EXPECT_EQ(descriptions.size(), count);
  EXPECT_NE(Graph::layered("1-2-1", {.aggregation = Aggregation::sum}).describe(), Graph::layered("1-2-1").describe());
  EXPECT_EQ(Graph::layered("1-2-1").describe(), Graph::layered("1-2-1").describe());
}

}  // namespace
}  // namespace lmnet
