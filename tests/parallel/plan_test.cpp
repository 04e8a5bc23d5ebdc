#include "parallel/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const EdgeKinds block = {EdgeKind::block};
constexpr int kMostRanks = 9;
constexpr int64_t kMostRows = 17;

Graph with_skip(const GraphOptions& options = {}) {
  return Graph::explicit_graph({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}},
                               {{"input", "a"},
                                {"a", "b"},
                                {"a", "c"},
                                {"b", "d"},
                                {"c", "d"},
                                {"a", "d"},
                                {"input", "d"},
                                {"b", "head"},
                                {"d", "head"}},
                               options);
}

std::vector<Graph> graphs() {
  std::vector<Graph> all;
  for (Sharing sharing : {Sharing::all, Sharing::none}) {
    for (const char* topology : {"1", "1-2-1", "2-3-1", "1-4-4-4-1", "1-7-2"})
      all.push_back(Graph::layered(topology, {.sharing = sharing, .output = Output::mean}));
    all.push_back(with_skip({.sharing = sharing}));
  }
  return all;
}

Plan plan_of(const Graph& graph, int vertex_parallel) {
  return {graph, vertex_parallel, 1, {.edges = true}, false};
}

/// Calls `check` for every graph, number of ranks and number of rows.
void for_all_plans(const std::function<void(const Graph&, const Plan&, int64_t)>& check) {
  for (const Graph& graph : graphs())
    for (int vp = 1; vp <= kMostRanks; ++vp) {
      const Plan plan = plan_of(graph, vp);
      for (int64_t rows = 0; rows <= kMostRows; ++rows) {
        SCOPED_TRACE(::testing::Message() << graph.topology() << " VP " << vp << " rows " << rows);
        check(graph, plan, rows);
        if (::testing::Test::HasFailure()) return;
      }
    }
}

/// The ranks' items of a level, numbered vertex·B + row, in rank order.
std::vector<std::vector<int64_t>> items(const Graph& graph, const Plan& plan, int level, int64_t rows) {
  std::vector<std::vector<int64_t>> all;
  for (int r = 0; r < plan.vertex_parallel(); ++r) {
    all.emplace_back();
    const Layout layout = plan.layout(r, rows);
    for (const Share& share : layout.levels[level])
      for (int64_t row = share.rows.begin; row < share.rows.end; ++row)
        all.back().push_back((share.vertex - graph.level(level).front()) * rows + row);
  }
  return all;
}

TEST(Plan, every_item_runs_on_exactly_one_rank) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    for (int l = 0; l <= graph.levels(); ++l) {
      std::multiset<int64_t> seen;
      for (const auto& here : items(graph, plan, l, rows)) seen.insert(here.begin(), here.end());
      std::multiset<int64_t> expected;
      for (int64_t i = 0; i < rows * static_cast<int64_t>(graph.level(l).size()); ++i) expected.insert(i);
      ASSERT_EQ(seen, expected) << "level " << l;
    }
  });
}

TEST(Plan, ranks_run_contiguous_items_whose_numbers_differ_by_at_most_one) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    for (int l = 0; l <= graph.levels(); ++l) {
      if (graph.separate(l)) continue;
      const int64_t n = rows * static_cast<int64_t>(graph.level(l).size()), vp = plan.vertex_parallel();
      int64_t next = 0;
      for (const auto& here : items(graph, plan, l, rows)) {
        ASSERT_GE(static_cast<int64_t>(here.size()), n / vp);
        ASSERT_LE(static_cast<int64_t>(here.size()), (n + vp - 1) / vp);
        for (int64_t item : here) ASSERT_EQ(item, next++);
      }
    }
  });
}

TEST(Plan, item_i_runs_on_the_rank_of_the_written_rule) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    for (int l = 0; l <= graph.levels(); ++l) {
      if (graph.separate(l)) continue;
      const auto all = items(graph, plan, l, rows);
      for (int r = 0; r < plan.vertex_parallel(); ++r)
        for (int64_t item : all[r])
          ASSERT_EQ(r, item * plan.vertex_parallel() / (rows * static_cast<int64_t>(graph.level(l).size())));
    }
  });
}

TEST(Plan, shares_are_never_empty_and_in_vertex_order) {
  for_all_plans([](const Graph&, const Plan& plan, int64_t rows) {
    for (int r = 0; r < plan.vertex_parallel(); ++r)
      for (const std::vector<Share>& shares : plan.layout(r, rows).levels)
        for (size_t s = 0; s < shares.size(); ++s) {
          ASSERT_GT(shares[s].rows.size(), 0);
          ASSERT_LT(s > 0 ? shares[s - 1].vertex : -1, shares[s].vertex);
        }
  });
}

TEST(Plan, with_separate_weights_vertices_run_whole_dealt_modulo_the_ranks) {
  for (int vp = 1; vp <= kMostRanks; ++vp) {
    const Graph graph = Graph::layered("1-4-4-4-1", {.sharing = Sharing::none});
    const Plan plan = plan_of(graph, vp);
    for (const Vertex& vertex : graph.vertices()) {
      const int v = static_cast<int>(&vertex - graph.vertices().data());
      EXPECT_THAT(plan.placement().groups.at(vertex.group), ElementsAre(v % vp));
      EXPECT_THAT(plan.layout(v % vp, 5).levels[vertex.level], ::testing::Contains(Share{v, {0, 5}}));
    }
  }
}

TEST(Plan, the_holders_of_a_vertex_are_the_ranks_that_run_it_for_some_batch) {
  for (const Graph& graph : graphs())
    for (int vp = 1; vp <= kMostRanks; ++vp) {
      const Plan plan = plan_of(graph, vp);
      std::vector<std::set<int>> running(graph.vertices().size() + 1);
      for (int64_t rows = 0; rows <= kMostRows; ++rows)
        for (int r = 0; r < vp; ++r)
          for (const std::vector<Share>& shares : plan.layout(r, rows).levels)
            for (const Share& share : shares) running[share.vertex].insert(r);
      auto sorted = [](const std::set<int>& ranks) { return Holders(ranks.begin(), ranks.end()); };
      std::map<std::string, std::set<int>> groups;
      for (int v = 0; v < graph.head(); ++v)
        groups[graph.vertices()[v].group].insert(running[v].begin(), running[v].end());
      for (const auto& [group, ranks] : groups) EXPECT_EQ(plan.placement().groups.at(group), sorted(ranks)) << group;
      EXPECT_EQ(plan.placement().head, sorted(running[graph.head()]));
      std::set<int> embedding;
      for (size_t e = 0; e < graph.edges().size(); ++e) {
        const Edge& edge = graph.edges()[e];
        const bool from_input = edge.source == Graph::input;
        const std::set<int>& ranks = running[from_input ? edge.destination : edge.source];
        EXPECT_EQ(plan.placement().edges[e], sorted(ranks)) << graph.topology() << " VP " << vp << " " << edge.name;
        if (from_input) embedding.insert(ranks.begin(), ranks.end());
      }
      EXPECT_EQ(plan.placement().embedding, sorted(embedding));
    }
}

TEST(Plan, a_tied_head_is_held_by_the_users_of_both_ends) {
  const Graph graph = Graph::layered("2-3-1", {.sharing = Sharing::none});
  const Plan untied(graph, 4, 1, {}, false), tied(graph, 4, 1, {}, true);
  EXPECT_THAT(untied.placement().embedding, ElementsAre(0, 1));
  EXPECT_THAT(untied.placement().head, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(tied.placement().embedding, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(tied.placement().head, tied.placement().embedding);
}

/// For each (destination vertex, row), how often it stands in `pieces`.
std::map<std::pair<int, int64_t>, int> counted(const std::vector<Share>& pieces) {
  std::map<std::pair<int, int64_t>, int> count;
  for (const Share& piece : pieces)
    for (int64_t row = piece.rows.begin; row < piece.rows.end; ++row) ++count[{piece.vertex, row}];
  return count;
}

TEST(Plan, every_sent_row_travels_exactly_once_to_the_rank_that_runs_it) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    for (int l = 0; l < graph.levels(); ++l) {
      std::map<int, std::vector<Share>> travelling;
      for (const Route& route : plan.routes(l, rows)) {
        travelling[route.from].push_back(route.share);
        const Layout receiver = plan.layout(route.to, rows);
        bool runs = false;
        for (const Share& share : receiver.levels[graph.level_of(route.share.vertex)])
          runs = runs ||
                 (share.vertex == route.share.vertex && intersect(share.rows, route.share.rows) == route.share.rows);
        ASSERT_TRUE(runs) << "level " << l;
      }
      for (int r = 0; r < plan.vertex_parallel(); ++r) {
        const auto sent = counted(outgoing(graph, plan.layout(r, rows), l));
        for (const auto& [row, times] : sent) ASSERT_EQ(times, 1);
        ASSERT_EQ(counted(travelling[r]), sent) << "level " << l << " rank " << r;
      }
    }
  });
}

TEST(Plan, every_row_of_a_vertex_gets_a_message_for_each_level_that_feeds_it) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    std::set<std::tuple<int, int, int64_t>> arrived, expected;  // level, destination, row
    for (int l = 0; l < graph.levels(); ++l)
      for (const Route& route : plan.routes(l, rows))
        for (int64_t row = route.share.rows.begin; row < route.share.rows.end; ++row)
          arrived.insert({l, route.share.vertex, row});
    for (const Edge& edge : graph.edges())
      for (int64_t row = 0; edge.source != Graph::input && row < rows; ++row)
        expected.insert({graph.level_of(edge.source), edge.destination, row});
    ASSERT_EQ(arrived, expected);
  });
}

TEST(Plan, routes_are_ordered_by_sender_receiver_destination_and_rows) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    for (int l = 0; l < graph.levels(); ++l) {
      const std::vector<Route> routes = plan.routes(l, rows);
      auto key = [](const Route& r) { return std::tuple(r.from, r.to, r.share.vertex, r.share.rows.begin); };
      for (size_t i = 1; i < routes.size(); ++i) ASSERT_LT(key(routes[i - 1]), key(routes[i]));
    }
  });
}

/// Rows that each pair of ranks exchanges in the gap behind `level`.
std::vector<std::vector<int64_t>> traffic(const Plan& plan, int level, int64_t rows) {
  std::vector<std::vector<int64_t>> sent(plan.vertex_parallel(), std::vector<int64_t>(plan.vertex_parallel(), 0));
  for (const Route& route : plan.routes(level, rows)) sent[route.from][route.to] += route.share.rows.size();
  return sent;
}

TEST(PlanTrace, the_wide_network_on_four_ranks) {
  const Graph graph = Graph::layered("1-4-4-4-1", {.input_edge = block});
  const Plan plan(graph, 4, 1, {.edges = true, .vertices = true, .embeddings = true}, true);
  for (int r = 0; r < 4; ++r) {
    const Layout layout = plan.layout(r, 8);
    const RowRange quarter{2 * r, 2 * r + 2};
    EXPECT_THAT(layout.levels[0], ElementsAre(Share{0, quarter}));
    EXPECT_THAT(layout.levels[1], ElementsAre(Share{1 + r, {0, 8}}));
    EXPECT_THAT(layout.levels[2], ElementsAre(Share{5 + r, {0, 8}}));
    EXPECT_THAT(layout.levels[3], ElementsAre(Share{9 + r, {0, 8}}));
    EXPECT_THAT(layout.levels[4], ElementsAre(Share{13, quarter}));
    EXPECT_THAT(layout.levels[5], ElementsAre(Share{graph.head(), quarter}));
  }
  EXPECT_THAT(traffic(plan, 0, 8), Each(ElementsAre(2, 2, 2, 2)));
  EXPECT_THAT(traffic(plan, 1, 8), Each(ElementsAre(8, 8, 8, 8)));
  EXPECT_THAT(traffic(plan, 2, 8), Each(ElementsAre(8, 8, 8, 8)));
  EXPECT_THAT(traffic(plan, 3, 8), Each(ElementsAre(2, 2, 2, 2)));
  for (const Route& route : plan.routes(4, 8)) EXPECT_EQ(route.from, route.to) << "to the head nothing travels";

  EXPECT_THAT(plan.placement().groups.at("shared"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(plan.placement().embedding, ElementsAre(0, 1, 2, 3));
  for (size_t e = 0; e < graph.edges().size(); ++e) {
    const Edge& edge = graph.edges()[e];
    const bool everywhere = edge.source == Graph::input || graph.level_of(edge.source) % 4 == 0;
    const Holders one = {everywhere ? 0 : graph.vertices()[edge.source].number};
    EXPECT_EQ(plan.placement().edges[e], everywhere ? (Holders{0, 1, 2, 3}) : one) << edge.name;
  }
}

TEST(PlanTrace, widths_that_do_not_divide_the_ranks_are_no_special_case) {
  const Graph graph = Graph::layered("2-3-1", {.input_edge = block});
  const Plan plan = plan_of(graph, 4);
  std::vector<Holders> middle;
  for (int v : graph.level(1)) middle.push_back(plan.placement().edges[graph.edges_from(v).front()]);
  EXPECT_THAT(middle, ElementsAre(ElementsAre(0, 1), ElementsAre(1, 2), ElementsAre(2, 3)));
  EXPECT_THAT(plan.layout(0, 8).levels[1], ElementsAre(Share{2, {0, 6}}));
  EXPECT_THAT(plan.layout(1, 8).levels[1], ElementsAre(Share{2, {6, 8}}, Share{3, {0, 4}}));
  EXPECT_THAT(plan.layout(2, 8).levels[1], ElementsAre(Share{3, {4, 8}}, Share{4, {0, 2}}));
  EXPECT_THAT(plan.layout(3, 8).levels[1], ElementsAre(Share{4, {2, 8}}));
}

TEST(Plan, a_tail_smaller_than_the_ranks_leaves_some_without_rows) {
  const Graph graph = Graph::layered("1-2-1");
  const Plan plan = plan_of(graph, 4);
  int idle = 0;
  for (int r = 0; r < 4; ++r) idle += plan.layout(r, 1).levels[0].empty();
  EXPECT_EQ(idle, 3);
  for (int r = 0; r < 4; ++r) EXPECT_THAT(plan.layout(r, 0).levels, Each(IsEmpty()));
  EXPECT_THAT(plan.routes(0, 0), IsEmpty());
}

TEST(Plan, gaps_before_everything_that_trains_carry_no_gradients) {
  const Graph graph = Graph::layered("1-2-1");
  const Plan frozen(graph, 2, 1, {.head = true}, false), training(graph, 2, 1, {.edges = true}, false);
  for (int l = 0; l < graph.levels(); ++l) {
    EXPECT_FALSE(frozen.carries_gradients(l));
    EXPECT_TRUE(training.carries_gradients(l));
  }
}

TEST(Plan, the_hash_is_equal_for_equal_and_different_for_different_inputs) {
  std::set<uint64_t> hashes;
  size_t count = 0;
  auto add = [&](const Graph& graph, int vp, int dp, const Trains& trains, bool tied) {
    const Plan plan(graph, vp, dp, trains, tied), again(graph, vp, dp, trains, tied);
    EXPECT_EQ(plan.hash(), again.hash());
    hashes.insert(plan.hash());
    ++count;
  };
  for (const Graph& graph : graphs())
    for (int vp : {1, 2, 12})
      for (int dp : {1, 2}) add(graph, vp, dp, {}, false);
  const Graph graph = Graph::layered("1-2-1");
  for (unsigned bits = 0; bits < 32; ++bits)
    if (bits != 0)
      add(graph, 2, 2, {bits % 2 != 0, bits / 2 % 2 != 0, bits / 4 % 2 != 0, bits / 8 % 2 != 0}, bits >= 16);
  add(graph, 2, 2, {.edges = true, .prefix = true}, false);
  add(Graph::layered("1-2-1", {.input_edge = block}), 2, 2, {}, false);
  add(Graph::layered("1-2-1", {.input_edge = {EdgeKind::block, EdgeKind::linear}}), 2, 2, {}, false);
  add(Graph::layered("1-2-1", {.residual = true}), 2, 2, {}, false);
  add(Graph::layered("1-2-1", {.aggregation = Aggregation::sum}), 2, 2, {}, false);
  add(Graph::layered("1-2-1", {.sharing = Sharing::groups}), 2, 2, {}, false);
  EXPECT_EQ(hashes.size(), count);
}

TEST(Plan, names_its_sizes_in_one_line) {
  const Graph graph = Graph::layered("1-4-4-4-1");
  EXPECT_THAT(Plan(graph, 4, 2, {.edges = true}, true).describe(8),
              AllOf(HasSubstr("8 ranks = 2 data × 4 vertex · 8 rows a replica"), EndsWith("\n")));
}

TEST(Plan, pieces_are_two_halves_where_there_is_something_to_hide) {
  const Graph graph = Graph::layered("1-2-1");
  const Plan alone = plan_of(graph, 1), two = plan_of(graph, 2);
  EXPECT_THAT(alone.pieces(8, true), ElementsAre(RowRange{0, 8}));
  EXPECT_THAT(two.pieces(8, false), ElementsAre(RowRange{0, 8}));
  EXPECT_THAT(two.pieces(8, true), ElementsAre(RowRange{0, 4}, RowRange{4, 8}));
  EXPECT_THAT(two.pieces(5, true), ElementsAre(RowRange{0, 2}, RowRange{2, 5}));
  EXPECT_THAT(two.pieces(3, true), ElementsAre(RowRange{0, 2}, RowRange{2, 3}));
  for (const int64_t rows : {0, 1, 2}) EXPECT_THAT(two.pieces(rows, true), ElementsAre(RowRange{0, rows}));
}

TEST(Plan, pieces_give_the_fullest_rank_of_a_level_no_more_rows_than_the_whole) {
  for_all_plans([](const Graph& graph, const Plan& plan, int64_t rows) {
    const std::vector<RowRange> pieces = plan.pieces(rows, true);
    ASSERT_EQ(pieces.front().begin, 0);
    ASSERT_EQ(pieces.back().end, rows);
    for (int l = 0; l <= graph.levels(); ++l) {
      int64_t most = 0, most_in_pieces = 0;
      for (const std::vector<int64_t>& here : items(graph, plan, l, rows)) most = std::max(most, std::ssize(here));
      for (const RowRange piece : pieces) {
        int64_t most_here = 0;
        for (const std::vector<int64_t>& here : items(graph, plan, l, piece.size()))
          most_here = std::max(most_here, std::ssize(here));
        most_in_pieces += most_here;
      }
      ASSERT_EQ(most_in_pieces, most) << "level " << l;
    }
  });
}

}  // namespace
}  // namespace lmnet
