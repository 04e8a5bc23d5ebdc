#include "trainer/saving/partial_load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "model/graph/errors.h"
#include "model/hugging_face.h"
#include "trainer/checkpoint/checkpoint_reader.h"

namespace lmnet {
namespace {

/// Where a part comes from; empty: as without model.load.
std::string path_of(const LoadConfig& load, Parameter::Part part) {
  using enum Parameter::Part;
  const auto or_all = [&](const std::optional<std::string>& path) { return path ? *path : load.all.value_or(""); };
  switch (part) {
    case edges:
      return or_all(load.edges);
    case vertices:
      return or_all(load.vertices);
    case embeddings:
      return or_all(load.embeddings);
    case head:
      return or_all(load.head);
    case prefix:
      return or_all(load.prefix);
  }
  return "";
}

/// Of a parameter of a vertex.
std::string group_in(const std::string& name) {
  constexpr size_t begin = std::string_view("vertices.").size();
  return name.substr(begin, name.find('.', begin) - begin);
}

/// A checkpoint out of which parameters are taken.
class Origin {
 public:
  Origin(const ModelConfig& model, const std::string& path, const std::string& tokenizer_hash)
      : model_(model), checkpoint_(require_checkpoint(path)), spec_(model_of_checkpoint(checkpoint_)) {
    for (const Vertex& vertex : spec_.graph.vertices()) {
      group_of_[vertex.name] = vertex.group;
      groups_.insert(vertex.group);
    }
    const std::string& saved = checkpoint_.manifest().tokenizer_hash;
    if (!saved.empty() && saved != tokenizer_hash && !allowed("tokenizer"))
      throw ConfigError(fmt::format(
          "{}: model.load: {} was trained with another tokenizer (hash {}, this run's is {}); give this run the "
          "copy of it that lies there, or set model.load.allow to [tokenizer]",
          model.where, checkpoint_.folder().string(), saved, tokenizer_hash));
  }

  /// The name under which a parameter of a vertex group stands here: that of the group to which all `vertices` (names)
  /// belong here. Nothing where they are of several, or not here.
  std::optional<std::string> vertex_name(const std::string& name, const std::vector<std::string>& vertices) const {
    std::set<std::string> groups;
    for (const std::string& vertex : vertices) {
      const auto found = group_of_.find(vertex);
      if (found != group_of_.end())
        groups.insert(found->second);
      else
        groups.insert(groups_.size() == 1 ? *groups_.begin() : "");
    }
    if (groups.size() != 1 || groups.begin()->empty()) return std::nullopt;
    return fmt::format("vertices.{}.{}", *groups.begin(), without_group(name));
  }

  bool has(const std::string& name) const { return checkpoint_.has(name); }
  at::Tensor read(const std::string& name) const { return checkpoint_.read_exact(name); }
  std::string where() const { return checkpoint_.folder().string(); }

  void missing(const std::string& name) { missing_.push_back(name); }
  void taken(Parameter::Part part, const std::string& name, const std::string& as) {
    parts_.emplace(to_string(part));
    if (name != as) renamed_.insert(fmt::format("vertices.{} from vertices.{}", group_in(name), group_in(as)));
  }

  /// Refuses what is missing, unless that is allowed; else tells what was taken.
  std::string finish(const ModelSpec& spec) const {
    if (!missing_.empty() && !allowed("topology"))
      throw ConfigError(fmt::format(
          "{}: model.load: {} (topology {}) has nothing for {} of this network (topology {}); set model.load.allow to "
          "[topology] to let what is missing begin as without model.load",
          model_.where, where(), spec_.graph.topology(), some(missing_), spec.graph.topology()));
    std::string text = fmt::format("{} begin as those of {}", fmt::join(parts_, ", "), where());
    if (!renamed_.empty()) text += fmt::format(" ({})", fmt::join(renamed_, ", "));
    if (!missing_.empty()) text += fmt::format("; not there: {}", some(missing_));
    return text;
  }

 private:
  bool allowed(const char* what) const { return std::ranges::find(model_.load.allow, what) != model_.load.allow.end(); }
  static std::string some(const std::vector<std::string>& names) {
    constexpr size_t few = 3;
    std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + std::min(few, names.size()), ", "));
    return names.size() > few ? fmt::format("{} and {} more", text, names.size() - few) : text;
  }

  const ModelConfig& model_;
  CheckpointReader checkpoint_;
  ModelSpec spec_;
  std::map<std::string, std::string> group_of_;  // by vertex
  std::set<std::string> groups_;
  std::vector<std::string> missing_;
  std::set<std::string> renamed_;
  std::set<std::string> parts_;
};

/// The vertices of each weight group, by name.
std::map<std::string, std::vector<std::string>> vertices_of_groups(const Graph& graph) {
  std::map<std::string, std::vector<std::string>> vertices;
  for (const Vertex& vertex : graph.vertices()) vertices[vertex.group].push_back(vertex.name);
  return vertices;
}

}  // namespace

bool loads(const LoadConfig& load, Parameter::Part part) {
  return !path_of(load, part).empty();
}

std::vector<std::string> load_parts(const ModelConfig& model, const ModelSpec& spec, const std::string& tokenizer_hash,
                                    Optimizer& optimizer) {
  std::map<std::string, Origin> origins;  // by path
  const auto vertices = vertices_of_groups(spec.graph);
  for (const std::string& name : optimizer.names()) {
    const Parameter::Part part = optimizer.parameter(name).part;
    const std::string path = path_of(model.load, part);
    if (path.empty()) continue;
    Origin& origin = origins.try_emplace(path, model, path, tokenizer_hash).first->second;
    std::optional<std::string> there = name;
    if (part == Parameter::Part::vertices) there = origin.vertex_name(name, vertices.at(group_in(name)));
    if (!there || !origin.has(*there)) {
      origin.missing(name);
      continue;
    }
    const at::Tensor value = origin.read(*there);
    require_shape(value, optimizer.value(name).sizes(), fmt::format("{}: tensor {}", origin.where(), *there));
    optimizer.assign(name, value);
    origin.taken(part, name, *there);
  }
  std::vector<std::string> notes;
  for (const auto& [path, origin] : origins) notes.push_back(origin.finish(spec));
  return notes;
}

}  // namespace lmnet
