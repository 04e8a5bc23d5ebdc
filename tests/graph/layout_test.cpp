#include "model/graph/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lmnet {
namespace {

const EdgeKinds block = {EdgeKind::block}, identity;

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(RowRange, intersections_may_be_empty_but_never_have_a_negative_size) {
  EXPECT_EQ(intersect({0, 4}, {2, 9}), (RowRange{2, 4}));
  EXPECT_EQ(intersect({0, 2}, {2, 4}).size(), 0);
  EXPECT_EQ(intersect({0, 1}, {3, 4}).size(), 0);
}

TEST(Layout, one_process_runs_every_vertex_and_the_head_on_all_rows) {
  const Graph graph = Graph::layered("1-2-1");
  const Layout layout = whole_layout(graph, 3);
  ASSERT_EQ(layout.levels.size(), 4u);
  EXPECT_THAT(layout.levels[1], ElementsAre(Share{1, {0, 3}}, Share{2, {0, 3}}));
  EXPECT_THAT(layout.levels[3], ElementsAre(Share{graph.head(), {0, 3}}));
  EXPECT_EQ(layout.items(1), 6);
  EXPECT_THAT(whole_layout(graph, 0).levels, Each(IsEmpty()));
}

TEST(Outgoing, rows_of_several_sources_to_one_destination_are_one_piece_where_they_touch) {
  const Graph graph = Graph::layered("3-1");
  Layout layout{8, {{{0, {5, 8}}, {1, {0, 8}}, {2, {0, 2}}}, {}, {}}};
  EXPECT_THAT(outgoing(graph, layout, 0), ElementsAre(Share{3, {0, 8}}));
  layout.levels[0] = {{0, {6, 8}}, {2, {0, 3}}};
  EXPECT_THAT(outgoing(graph, layout, 0), ElementsAre(Share{3, {0, 3}}, Share{3, {6, 8}}));
  layout.levels[0] = {{0, {3, 8}}, {1, {0, 3}}};
  EXPECT_THAT(outgoing(graph, layout, 0), ElementsAre(Share{3, {0, 8}}));
}

TEST(Outgoing, a_skip_leaves_with_its_sources_gap) {
  const Graph graph =
      Graph::explicit_graph({{"a", ""}, {"b", ""}}, {{"input", "a"}, {"a", "b"}, {"a", "head"}, {"b", "head"}});
  const Layout layout = whole_layout(graph, 2);
  EXPECT_THAT(outgoing(graph, layout, 0), ElementsAre(Share{1, {0, 2}}, Share{2, {0, 2}}));
  EXPECT_THAT(outgoing(graph, layout, 1), ElementsAre(Share{2, {0, 2}}));
  EXPECT_THAT(outgoing(graph, whole_layout(graph, 0), 0), IsEmpty());
}

TEST(Placement, one_process_holds_everything) {
  const Placement placement = whole_placement(Graph::layered("1-2-1", {.sharing = Sharing::none}));
  EXPECT_EQ(placement.groups.size(), 4u);
  for (const auto& [group, holders] : placement.groups) EXPECT_THAT(holders, ElementsAre(0)) << group;
  EXPECT_EQ(placement.edges.size(), 6u);
  EXPECT_THAT(placement.edges, Each(ElementsAre(0)));
  EXPECT_THAT(placement.embedding, ElementsAre(0));
  EXPECT_THAT(placement.head, ElementsAre(0));
}

TEST(GradientGaps, run_from_the_first_part_that_trains_to_the_head) {
  const Graph graph = Graph::layered("1-2-1");
  EXPECT_THAT(gradient_gaps(graph, {}), ElementsAre(false, false, false));
  EXPECT_THAT(gradient_gaps(graph, {.head = true}), ElementsAre(false, false, false));
  EXPECT_THAT(gradient_gaps(graph, {.edges = true}), ElementsAre(true, true, true));
  EXPECT_THAT(gradient_gaps(graph, {.vertices = true}), ElementsAre(true, true, true));
  EXPECT_THAT(gradient_gaps(graph, {.embeddings = true}), ElementsAre(true, true, true));
  EXPECT_THAT(gradient_gaps(graph, {.prefix = true}), ElementsAre(true, true, true)) << "it stands before the tokens";
}

TEST(GradientGaps, do_not_run_before_the_first_edge_with_weights) {
  const Graph graph = Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}},
                                            {{"input", "a"}, {"a", "b", identity}, {"b", "c", block}, {"c", "head"}});
  EXPECT_THAT(gradient_gaps(graph, {.edges = true}), ElementsAre(false, true, true));
  EXPECT_THAT(gradient_gaps(graph, {.embeddings = true}), ElementsAre(true, true, true));
  EXPECT_THAT(gradient_gaps(Graph::layered("1"), {.edges = true}), ElementsAre(false));
  EXPECT_THAT(gradient_gaps(Graph::layered("1", {.input_edge = block}), {.edges = true}), ElementsAre(true));
}

}  // namespace
}  // namespace lmnet
