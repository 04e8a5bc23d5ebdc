#include "model/hugging_face.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>

#include "model/errors.h"

namespace lmnet {
namespace {

constexpr std::string_view kHead = "lm_head.weight";

struct ModulePair {
  std::string_view ours, theirs;
};

constexpr ModulePair kGpt2Modules[] = {{"attention_norm", "ln_1"},     {"attention.q", "attn.c_attn"},
                                       {"attention.k", "attn.c_attn"}, {"attention.v", "attn.c_attn"},
                                       {"attention.o", "attn.c_proj"}, {"mlp_norm", "ln_2"},
                                       {"mlp.up", "mlp.c_fc"},         {"mlp.down", "mlp.c_proj"}};
constexpr ModulePair kRotaryModules[] = {
    {"attention_norm", "input_layernorm"}, {"attention.q", "self_attn.q_proj"},
    {"attention.k", "self_attn.k_proj"},   {"attention.v", "self_attn.v_proj"},
    {"attention.o", "self_attn.o_proj"},   {"mlp_norm", "post_attention_layernorm"},
    {"mlp.gate", "mlp.gate_proj"},         {"mlp.up", "mlp.up_proj"},
    {"mlp.down", "mlp.down_proj"}};

std::string_view prefix_of(const BackboneConfig& backbone) {
  return backbone.gpt2() ? "transformer." : "model.";
}

std::string_view blocks_of(const BackboneConfig& backbone) {
  return backbone.gpt2() ? "h" : "layers";
}

/// Masks and frequencies, which older files hold besides weights although they follow from the config.
bool is_buffer(const BackboneConfig& backbone, std::string_view name) {
  return backbone.gpt2() ? name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
                         : name.ends_with(".self_attn.rotary_emb.inv_freq");
}

/// Shape of the tensor that holds `place`: our parameter's own, or three of it side by side (c_attn).
std::vector<int64_t> stored_shape(const HuggingFaceTensor& place, std::vector<int64_t> shape) {
  if (place.end > 0) shape[0] *= 3;
  if (place.transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

bool is_weight(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kDouble;
}

/// The tensors of the files by their full names, whether the files write the base model's prefix or not.
std::map<std::string, SafetensorsFolder::Place> by_full_name(const BackboneConfig& backbone,
                                                             const SafetensorsFolder& files) {
  std::map<std::string, SafetensorsFolder::Place> places;
  for (const auto& [name, place] : files.tensors()) {
    if (is_buffer(backbone, name)) continue;
    const bool full = name.starts_with(prefix_of(backbone)) || name == kHead;
    const std::string full_name = full ? name : std::string(prefix_of(backbone)) + name;
    if (!places.emplace(full_name, place).second)
      throw WeightsError(fmt::format("{}: tensor \"{}\" is there with and without its prefix",
                                     place.file->path().string(), shown(full_name)));
  }
  return places;
}

void check_weight(const SafetensorsFolder::Place& place, const std::vector<int64_t>& shape) {
  const SafetensorsEntry& entry = *place.entry;
  const std::string where = fmt::format("{}: tensor \"{}\"", place.file->path().string(), shown(entry.name));
  if (entry.shape != shape)
    throw WeightsError(fmt::format("{} has shape [{}], but its config.json asks for [{}]", where,
                                   fmt::join(entry.shape, ", "), fmt::join(shape, ", ")));
  if (!is_weight(entry.dtype))
    throw WeightsError(
        fmt::format("{} is {}; weights are F32, BF16, F16 or F64", where, safetensors_dtype(entry.dtype)));
}

/// The parameters of one block, `attention_norm.weight` to `mlp.down.weight`, in the order of execution.
std::vector<CanonicalTensor> block_tensors(const BackboneConfig& b) {
  const int64_t d = b.hidden_size, f = b.intermediate_size, q = b.heads * b.head_width, kv = b.kv_heads * b.head_width;
  std::vector<CanonicalTensor> tensors;
  auto linear = [&](std::string name, int64_t out, int64_t in, bool bias) {
    tensors.emplace_back(name + ".weight", std::vector{out, in});
    if (bias) tensors.emplace_back(name + ".bias", std::vector{out});
  };
  auto norm = [&](std::string name) {
    tensors.emplace_back(name + ".weight", std::vector{d});
    if (b.gpt2()) tensors.emplace_back(name + ".bias", std::vector{d});
  };
  norm("attention_norm");
  linear("attention.q", q, d, b.qkv_bias);
  linear("attention.k", kv, d, b.qkv_bias);
  linear("attention.v", kv, d, b.qkv_bias);
  linear("attention.o", d, q, b.gpt2());
  norm("mlp_norm");
  if (!b.gpt2()) linear("mlp.gate", f, d, false);
  linear("mlp.up", f, d, b.gpt2());
  linear("mlp.down", d, f, b.gpt2());
  return tensors;
}

}  // namespace

std::vector<CanonicalTensor> backbone_tensors(const BackboneConfig& b) {
  std::vector<CanonicalTensor> tensors = {{"embeddings.tokens.weight", {b.vocabulary, b.hidden_size}}};
  if (b.gpt2()) tensors.push_back({"embeddings.positions.weight", {b.positions, b.hidden_size}});
  const std::vector<CanonicalTensor> block = block_tensors(b);
  for (int64_t i = 0; i < b.blocks; ++i)
    for (const auto& [name, shape] : block) tensors.emplace_back(fmt::format("blocks.{}.{}", i, name), shape);
  tensors.push_back({"norm.weight", {b.hidden_size}});
  if (b.gpt2()) tensors.push_back({"norm.bias", {b.hidden_size}});
  if (!b.tied) tensors.push_back({"head.weight", {b.vocabulary, b.hidden_size}});
  return tensors;
}

HuggingFaceTensor hugging_face_block_tensor(const BackboneConfig& backbone, std::string_view in_block) {
  const size_t dot = std::min(in_block.rfind('.'), in_block.size());
  const std::string_view module = in_block.substr(0, dot), leaf = in_block.substr(dot);
  std::span<const ModulePair> pairs = kRotaryModules;
  if (backbone.gpt2()) pairs = kGpt2Modules;
  auto pair = std::find_if(pairs.begin(), pairs.end(), [&](const ModulePair& p) { return p.ours == module; });
  if (pair == pairs.end()) return {};
  HuggingFaceTensor place{fmt::format("{}{}", pair->theirs, leaf)};
  place.transposed = backbone.gpt2() && leaf == ".weight" && !module.ends_with("norm");
  if (pair->theirs.ends_with("c_attn")) {
    const int64_t third = module.back() == 'q' ? 0 : module.back() == 'k' ? 1 : 2;
    place.begin = third * backbone.hidden_size;
    place.end = place.begin + backbone.hidden_size;
  }
  return place;
}

HuggingFaceTensor hugging_face_tensor(const BackboneConfig& backbone, std::string_view canonical) {
  const std::string prefix(prefix_of(backbone));
  if (canonical == "head.weight") return {std::string(kHead)};
  if (canonical == "embeddings.tokens.weight")
    return {prefix + (backbone.gpt2() ? "wte.weight" : "embed_tokens.weight")};
  if (canonical == "embeddings.positions.weight") return {prefix + "wpe.weight"};
  if (canonical.starts_with("norm."))
    return {prefix + (backbone.gpt2() ? "ln_f" : "norm") + std::string(canonical.substr(4))};
  // blocks.I.<in the block>
  const size_t dot = canonical.find('.', 7);
  if (!canonical.starts_with("blocks.") || dot == std::string_view::npos) return {};
  HuggingFaceTensor place = hugging_face_block_tensor(backbone, canonical.substr(dot + 1));
  if (!place.name.empty())
    place.name = fmt::format("{}{}.{}.{}", prefix, blocks_of(backbone), canonical.substr(7, dot - 7), place.name);
  return place;
}

at::Tensor hugging_face_view(const HuggingFaceTensor& place, const at::Tensor& stored) {
  const at::Tensor view = place.transposed ? stored.t() : stored;
  return place.end > 0 ? view.narrow(0, place.begin, place.end - place.begin) : view;
}

std::string_view without_group(std::string_view canonical) {
  constexpr std::string_view kVertices = "vertices.";
  return canonical.starts_with(kVertices) ? canonical.substr(canonical.find('.', kVertices.size()) + 1) : canonical;
}

BackboneWeights::BackboneWeights(const std::filesystem::path& folder, BackboneConfig config)
    : path_(folder), config_(std::move(config)), files_(folder) {
  std::map<std::string, SafetensorsFolder::Place> left = by_full_name(config_, files_);
  std::set<std::string> used;
  for (const auto& [canonical, shape] : backbone_tensors(config_)) {
    HuggingFaceTensor place = hugging_face_tensor(config_, canonical);
    auto found = left.find(place.name);
    if (found == left.end())
      throw WeightsError(fmt::format("{}: tensor \"{}\" is missing", path_.string(), place.name));
    check_weight(found->second, stored_shape(place, shape));
    used.insert(place.name);
    tensors_.emplace(canonical, Stored{std::move(place), found->second});
  }
  if (auto head = left.find(std::string(kHead)); config_.tied && head != left.end()) {
    check_tied_head(head->second);
    used.insert(head->first);
  }
  std::erase_if(left, [&](const auto& named) { return used.contains(named.first); });
  if (!left.empty())
    throw WeightsError(fmt::format(
        "{}: tensor \"{}\"{} of no use to this {}", path_.string(), shown(left.begin()->second.entry->name),
        left.size() > 1 ? fmt::format(" and {} others are", left.size() - 1) : " is", to_string(config_.family)));
}

void BackboneWeights::check_tied_head(const SafetensorsFolder::Place& place) const {
  const at::Tensor head = place.file->tensor(*place.entry), tokens = read("embeddings.tokens.weight");
  const bool equal = head.scalar_type() == tokens.scalar_type() && head.sizes() == tokens.sizes() &&
                     std::memcmp(head.const_data_ptr(), tokens.const_data_ptr(), head.nbytes()) == 0;
  if (!equal)
    throw WeightsError(
        fmt::format("{}: tensor \"{}\" differs from the embedding, though the head is tied to it; if the model is "
                    "meant so, write \"tie_word_embeddings\": false into its config.json",
                    place.file->path().string(), shown(place.entry->name)));
}

at::Tensor BackboneWeights::read(std::string_view canonical) const {
  auto found = tensors_.find(without_group(canonical));
  if (found == tensors_.end())
    throw WeightsError(fmt::format("{}: this backbone has no {}", path_.string(), canonical));
  const auto& [place, at] = found->second;
  return hugging_face_view(place, at.file->tensor(*at.entry));
}

void write_backbone_weights(const std::filesystem::path& folder, const BackboneConfig& backbone,
                            const std::function<at::Tensor(const std::string& canonical)>& value,
                            const std::function<at::ScalarType(const std::string& canonical)>& dtype,
                            uint64_t shard_bytes) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::vector<std::string>> parts;  // ours in each of theirs, in the order of its rows
  for (const auto& [canonical, shape] : backbone_tensors(backbone)) {
    const HuggingFaceTensor place = hugging_face_tensor(backbone, canonical);
    if (parts[place.name].empty()) entries.push_back({place.name, dtype(canonical), stored_shape(place, shape)});
    parts[place.name].push_back(canonical);
  }
  for (SafetensorsEntry& entry : entries)
    for (const std::string& canonical : parts.at(entry.name))
      entry.dtype = c10::promoteTypes(entry.dtype, dtype(canonical));
  write_safetensors_folder(
      folder, entries,
      [&](const SafetensorsEntry& entry) {
        std::vector<at::Tensor> rows;
        for (const std::string& canonical : parts.at(entry.name)) rows.push_back(value(canonical).detach());
        const at::Tensor whole = rows.size() == 1 ? rows.front() : at::cat(rows);
        return hugging_face_tensor(backbone, parts.at(entry.name).front()).transposed ? whole.t() : whole;
      },
      shard_bytes);
}

}  // namespace lmnet
