#include "trainer/explicit_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "model/graph/errors.h"
#include "trainer/config/config.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

void check_keys(const Json& map, const std::vector<std::string>& known, const std::string& what) {
  if (map.is_null()) return;
  if (!map.is_object())
    throw ConfigError(fmt::format("{} must be a mapping with the keys {}", what, fmt::join(known, ", ")));
  for (const auto& [key, value] : map.items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    const std::string near = nearest(key, known);
    throw ConfigError(fmt::format(
        "{} has the unknown key {}, {}", what, key,
        near.empty() ? fmt::format("known are {}", fmt::join(known, ", ")) : fmt::format("did you mean {}?", near)));
  }
}

/// A word or number of the graph as text; empty where it is not given.
std::string text_of(const Json& map, const char* key, const std::string& what) {
  if (!map.is_object() || !map.contains(key)) return "";
  const Json& value = map[key];
  if (value.is_structured() || value.is_null()) throw ConfigError(fmt::format("{}: {} must be a name", what, key));
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string require_text(const Json& map, const char* key, const std::string& what) {
  std::string text = text_of(map, key, what);
  if (text.empty()) throw ConfigError(fmt::format("{} lacks \"{}\"", what, key));
  return text;
}

EdgeKinds kinds_of(const Json& kind, const std::string& what) {
  EdgeKinds kinds;
  if (kind.is_array() && !kind.empty()) {
    for (const Json& item : kind) {
      if (item.is_array()) throw ConfigError(fmt::format("{}: a list of kinds within a list", what));
      const EdgeKinds link = kinds_of(item, what);
      kinds.insert(kinds.end(), link.begin(), link.end());
    }
    return kinds;
  }
  if (kind.is_object() && kind.contains("kind")) {
    check_keys(kind, {"kind"}, what);
    return kinds_of(kind["kind"], what);
  }
  if (!kind.is_string())
    throw ConfigError(fmt::format("{}: kind is a word such as block, or a list of such words", what));
  try {
    return parse_edge_kind(kind.get<std::string>());
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", what, error.what()));
  }
}

/// The weight group that a vertex names, or founds by having a backbone of its own.
std::string group_of(const std::string& name, const Json& vertex) {
  const std::string group = text_of(vertex, "group", "vertex " + name);
  const bool alone = group.empty() && vertex.is_object() && vertex.contains("backbone");
  return alone ? name : group;
}

void add_vertex(ExplicitGraph& graph, const std::string& name, const Json& vertex) {
  const std::string what = "vertex " + name;
  check_keys(vertex, {"group", "backbone"}, what);
  const std::string group = group_of(name, vertex);
  graph.vertices.push_back({name, group});
  if (!vertex.is_object() || !vertex.contains("backbone")) return;
  const Json& backbone = vertex["backbone"];
  const bool is_path = backbone.is_string() && !backbone.get_ref<const std::string&>().empty();
  if (!is_path && (!backbone.is_object() || backbone.empty()))
    throw ConfigError(fmt::format("{}: backbone must be a path or a mapping with the keys of a config.json", what));
  const auto [place, is_new] = graph.backbones.emplace(group, backbone);
  if (!is_new && place->second != backbone)
    throw ConfigError(
        fmt::format("{} names another backbone than the rest of its group {}, which shares one set of "
                    "weights; give it a group of its own",
                    what, group));
}

}  // namespace

ExplicitGraph parse_explicit_graph(const std::string& json) {
  const Json graph = Json::parse(json);
  check_keys(graph, {"vertices", "edges"}, "the graph");
  const Json vertices = graph.value("vertices", Json::object()), edges = graph.value("edges", Json::array());
  if (!vertices.is_object()) throw ConfigError("vertices must be a mapping of names, such as {a: {}, b: {group: g}}");
  if (!edges.is_array()) throw ConfigError("edges must be a list, such as [{from: input, to: a}, {from: a, to: head}]");
  ExplicitGraph result;
  for (const auto& [name, vertex] : vertices.items()) add_vertex(result, name, vertex);
  for (const Json& edge : edges) {
    const std::string what = "edge " + edge.dump();
    check_keys(edge, {"from", "to", "kind"}, what);
    ExplicitEdge named{require_text(edge, "from", what), require_text(edge, "to", what)};
    if (edge.contains("kind")) named.kinds = kinds_of(edge["kind"], what);
    result.edges.push_back(std::move(named));
  }
  return result;
}

std::string with_backbones(const std::string& json, const Json& by_group) {
  Json graph = Json::parse(json);
  if (!graph.contains("vertices")) return json;
  for (auto& [name, vertex] : graph["vertices"].items()) {
    if (!vertex.is_object() || !vertex.contains("backbone")) continue;
    const std::string group = group_of(name, vertex);
    vertex["group"] = group;
    if (by_group.contains(group))
      vertex["backbone"] = by_group[group];
    else  // its vertices were left out of the network
      vertex.erase("backbone");
  }
  return graph.dump();
}

}  // namespace lmnet
