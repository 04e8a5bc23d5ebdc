#include "trainer/hugging_face/reference_names.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <vector>

#include "model/graph/errors.h"

namespace lmnet {
namespace {

/// Thrown where a class has no place for a parameter; the caller knows the whole name.
struct Missing {};

/// Takes the text up to the next dot off the front of `rest`.
std::string_view next_part(std::string_view& rest) {
  size_t dot = rest.find('.');
  std::string_view part = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return part;
}

/// Takes a number, and the separator behind it, off the front of `rest`.
int64_t next_number(std::string_view& rest) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc()) throw Missing();
  rest.remove_prefix(std::min(static_cast<size_t>(end - rest.data()) + 1, rest.size()));
  return value;
}

/// `attention.q.weight` → `attention.q` and `.weight`.
std::pair<std::string_view, std::string_view> module_and_leaf(std::string_view name) {
  size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) throw Missing();
  return {name.substr(0, dot), name.substr(dot)};
}

struct Pair {
  std::string_view ours, theirs;
};

std::string_view find(std::span<const Pair> pairs, std::string_view ours) {
  auto found = std::find_if(pairs.begin(), pairs.end(), [&](const Pair& pair) { return pair.ours == ours; });
  if (found == pairs.end()) throw Missing();
  return found->theirs;
}

ReferenceTensor block_tensor(const BackboneConfig& backbone, std::string_view in_block) {
  ReferenceTensor tensor = hugging_face_block_tensor(backbone, in_block);
  if (tensor.name.empty()) throw Missing();
  return tensor;
}

/// WBlock: c_attn is a Linear, of which `attention.q.weight` is rows 0 to D, c_proj a Conv1D.
ReferenceTensor attention_edge_tensor(const BackboneConfig& backbone, std::string_view in_edge) {
  static constexpr Pair kModules[] = {{"attention.q", "attn.c_attn"},
                                      {"attention.k", "attn.c_attn"},
                                      {"attention.v", "attn.c_attn"},
                                      {"attention.o", "attn.c_proj"},
                                      {"norm", "ln_2"},
                                      {"mlp", "mlp"}};
  auto [module, leaf] = module_and_leaf(in_edge);
  std::string name = fmt::format("{}{}", find(kModules, module), leaf);
  if (!name.starts_with("attn.c_attn")) return {name, name == "attn.c_proj.weight"};
  const int64_t width = backbone.hidden_size, begin = module.back() == 'q'   ? 0
                                                      : module.back() == 'k' ? width
                                                                             : 2 * width;
  return {name, /*transposed=*/false, begin, begin + width};
}

/// Within one edge module: `block.mlp.up.weight` of a WBlock1 is `model.mlp.up_proj.weight`, `mlp.in.weight` of a
/// WBlock_mlp `c_fc.weight`.
ReferenceTensor edge_tensor(const BackboneConfig& backbone, EdgeKind kind, std::string_view in_edge) {
  switch (kind) {
    case EdgeKind::attention:
      return attention_edge_tensor(backbone, in_edge);
    case EdgeKind::mlp: {
      static constexpr Pair kModules[] = {{"mlp.in", "c_fc"}, {"mlp.out", "c_proj"}};
      auto [module, leaf] = module_and_leaf(in_edge);
      return {fmt::format("{}{}", find(kModules, module), leaf), leaf == ".weight"};
    }
    case EdgeKind::block: {
      if (backbone.gpt2()) throw Missing();
      if (in_edge.starts_with("fc.")) return {std::string(in_edge)};
      if (next_part(in_edge) != "block") throw Missing();
      ReferenceTensor tensor = block_tensor(backbone, in_edge);
      tensor.name = "model." + tensor.name;
      return tensor;
    }
    case EdgeKind::linear:
      break;
  }
  throw Missing();
}

/// Names of one class for one network.
class Names {
 public:
  Names(ReferenceClass cls, const NetworkShape& shape, const Graph& graph) : cls_(cls), shape_(shape), graph_(graph) {
    std::string_view text = graph.topology();
    while (!text.empty()) sizes_.push_back(next_number(text));
  }

  ReferenceTensor find(std::string_view canonical) const {
    std::string_view rest = canonical;
    std::string_view part = next_part(rest);
    if (part == "vertices") return vertex(rest);
    if (part == "edges") return edge(rest);
    if (canonical == "embeddings.prefix") return {"pfx"};
    if (canonical == "embeddings.tokens.weight") return {root(0) + (gpt2() ? "wte.weight" : "embed_tokens.weight")};
    if (canonical == "embeddings.positions.weight" && gpt2()) return {root(0) + "wpe.weight"};
    if (canonical == "head.weight" && !gpt2()) return {shape_.classes > 0 ? "score.weight" : "lm_head.weight"};
    throw Missing();
  }

 private:
  bool gpt2() const { return cls_ == ReferenceClass::gpt2; }
  bool separate() const {
    return cls_ == ReferenceClass::causal_separate || cls_ == ReferenceClass::classifier_separate;
  }

  /// The module of a vertex, by its place in the order of execution.
  std::string root(int64_t vertex) const {
    return gpt2() ? "node.transformer." : separate() ? fmt::format("ms.{}.", vertex) : "model.";
  }

  ReferenceTensor vertex(std::string_view rest) const {
    std::string_view group = next_part(rest);
    const std::vector<Vertex>& vertices = graph_.vertices();
    auto of_group = [&](const Vertex& vertex) { return vertex.group == group; };
    auto found = std::find_if(vertices.begin(), vertices.end(), of_group);
    auto users = std::count_if(vertices.begin(), vertices.end(), of_group);
    if (found == vertices.end() || users != (separate() ? 1 : static_cast<int64_t>(vertices.size()))) throw Missing();
    std::string at = root(std::accumulate(sizes_.begin(), sizes_.begin() + found->level, int64_t{found->number}));
    if (rest == "norm.weight" || (gpt2() && rest == "norm.bias")) {
      std::string_view leaf = module_and_leaf(rest).second;
      return {fmt::format("{}{}{}", at, gpt2() ? "ln_f" : "norm", leaf)};
    }
    if (next_part(rest) != "blocks") throw Missing();
    int64_t block = next_number(rest);
    ReferenceTensor tensor = block_tensor(shape_.of(std::string(group)), rest);
    tensor.name = fmt::format("{}{}.{}.{}", at, gpt2() ? "h" : "layers", block, tensor.name);
    return tensor;
  }

  /// GAP.S-D.<in the edge>, or GAP.S-D.links.I.<in the link>.
  ReferenceTensor edge(std::string_view rest) const {
    auto found = std::find_if(graph_.edges().begin(), graph_.edges().end(), [&](const Edge& edge) {
      return rest.starts_with(edge.name.substr(6) + ".");  // behind `edges.`
    });
    if (found == graph_.edges().end() || found->kinds.empty()) throw Missing();
    std::string_view gap = next_part(rest);
    int64_t source = next_number(rest), destination = next_number(rest), link = 0;
    if (found->kinds.size() > 1) {
      if (next_part(rest) != "links") throw Missing();
      link = next_number(rest);
    }
    if (link >= static_cast<int64_t>(found->kinds.size())) throw Missing();
    int64_t place =
        gap == "input" ? input_place(*found, destination, link) : gap_place(*found, gap, source, destination);
    ReferenceTensor tensor = edge_tensor(shape_.backbone, found->kinds[link], rest);
    tensor.name = fmt::format("ws.{}.{}", place, tensor.name);
    return tensor;
  }

  /// GPT-2's input blocks are the last of `ws` and run from its end; elsewhere they come first, one for each vertex.
  int64_t input_place(const Edge& edge, int64_t destination, int64_t link) const {
    if (gpt2()) return first_of_gap(sizes_.size() - 1) + static_cast<int64_t>(edge.kinds.size()) - 1 - link;
    if (edge.kinds.size() > 1) throw Missing();
    return destination;
  }

  int64_t gap_place(const Edge& edge, std::string_view gap, int64_t source, int64_t destination) const {
    if (edge.kinds.size() > 1 || gap.find('-') != std::string_view::npos) throw Missing();
    size_t level = static_cast<size_t>(next_number(gap));
    return first_of_gap(level) + source * sizes_[level + 1] + destination;
  }

  int64_t first_of_gap(size_t level) const {
    bool inputs = !gpt2() && !graph_.edges()[graph_.edges_from(Graph::input).front()].kinds.empty();
    int64_t place = inputs ? sizes_[0] : 0;
    for (size_t l = 0; l < level; ++l) place += sizes_[l] * sizes_[l + 1];
    return place;
  }

  ReferenceClass cls_;
  const NetworkShape& shape_;
  const Graph& graph_;
  std::vector<int64_t> sizes_;  // vertices of each level as the topology was given: those left out have a place too
};

}  // namespace

ReferenceTensor reference_tensor(ReferenceClass cls, const NetworkShape& shape, const Graph& graph,
                                 std::string_view canonical) {
  try {
    return Names(cls, shape, graph).find(canonical);
  } catch (const Missing&) {
    throw ConfigError(fmt::format("the official implementation's class has no place for {} (topology {})", canonical,
                                  graph.topology()));
  }
}

at::Tensor reference_view(const ReferenceTensor& at, const at::Tensor& stored) {
  return hugging_face_view(at, stored.dim() == 3 ? stored[0] : stored);  // the prefix is [1, prefix, D] there
}

}  // namespace lmnet
