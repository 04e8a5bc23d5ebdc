#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/graph/graph.h"

namespace lmnet {

/// A graph as a config writes it: `{vertices: {NAME: {group: …, backbone: …}}, edges: [{from, to, kind}, …]}`. A `kind`
/// is a word, a mapping `{kind: …}`, or a list of them: a chain. A vertex with a backbone but no group is a group
/// alone.
struct ExplicitGraph {
  std::vector<ExplicitVertex> vertices;
  std::vector<ExplicitEdge> edges;
  std::map<std::string, nlohmann::ordered_json> backbones;  // by group: a path or a mapping
};

/// Throws ConfigError, without a place, for what is not written like that.
ExplicitGraph parse_explicit_graph(const std::string& json);

/// The same graph with these backbones in place of what its vertices name.
std::string with_backbones(const std::string& json, const nlohmann::ordered_json& by_group);

}  // namespace lmnet
