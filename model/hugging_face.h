#pragma once
#include <functional>
#include <utility>

#include "model/backbone.h"
#include "model/safetensors.h"

namespace lmnet {

/// Where Hugging Face's class of a family keeps a parameter of ours. Canonical names here have no vertex group:
/// `embeddings.tokens.weight`, `blocks.0.attention.q.weight`, `norm.weight`, `head.weight`.
struct HuggingFaceTensor {
  std::string name;         // `model.layers.0.self_attn.q_proj.weight`
  bool transposed = false;  // stored [in, out] (GPT-2's Conv1D)
  int64_t begin = 0;        // of the tensor as [out, in], our parameter is the rows from begin to end;
  int64_t end = 0;          // 0 = all of it
};

/// A parameter of ours: canonical name and shape, [out, in] or [out].
using CanonicalTensor = std::pair<std::string, std::vector<int64_t>>;

/// All parameters of a backbone; a head only where it is not tied.
std::vector<CanonicalTensor> backbone_tensors(const BackboneConfig& backbone);

/// The place within a block (`attention.q.weight` → `self_attn.q_proj.weight`), without a name where there is none.
HuggingFaceTensor hugging_face_block_tensor(const BackboneConfig& backbone, std::string_view in_block);
/// The place within a language model (GPT2LMHeadModel, LlamaForCausalLM, Qwen2ForCausalLM) of one of its
/// backbone_tensors().
HuggingFaceTensor hugging_face_tensor(const BackboneConfig& backbone, std::string_view canonical);

/// The part of `stored`, the whole tensor at that place, that is our parameter, in our shape: a view.
at::Tensor hugging_face_view(const HuggingFaceTensor& place, const at::Tensor& stored);

/// `vertices.GROUP.blocks.0.…` → `blocks.0.…`; other names as they are.
std::string_view without_group(std::string_view canonical);

/// The weights of a Hugging Face folder, checked against its config: every tensor is there with its shape, in F32, F16,
/// BF16 or F64, and none is left over. Nothing but headers is read before a tensor is touched.
class BackboneWeights {
 public:
  /// `folder` may be one file too. Names with and without the base model's prefix (`transformer.`, `model.`) are taken.
  /// A head in a tied model's files must equal the embedding. Throws WeightsError.
  BackboneWeights(const std::filesystem::path& folder, BackboneConfig config);

  const BackboneConfig& config() const { return config_; }
  /// Our parameter of that canonical name, its vertex group being of no weight: a view of the file, to be copied from
  /// and never written to. Throws WeightsError where the backbone has none of that name.
  at::Tensor read(std::string_view canonical) const;

 private:
  struct Stored {
    HuggingFaceTensor place;
    SafetensorsFolder::Place file;
  };
  void check_tied_head(const SafetensorsFolder::Place& head) const;

  std::filesystem::path path_;
  BackboneConfig config_;
  SafetensorsFolder files_;
  std::map<std::string, Stored, std::less<>> tensors_;  // by canonical name
};

/// Writes a backbone's weights under Hugging Face's names; a tied head is left out. `value` gives our parameter of a
/// canonical name without vertex group, `dtype` what it is stored as (of parts of one tensor the wider one).
/// `shard_bytes` as in write_safetensors_folder(). Throws WeightsError.
void write_backbone_weights(const std::filesystem::path& folder, const BackboneConfig& backbone,
                            const std::function<at::Tensor(const std::string& canonical)>& value,
                            const std::function<at::ScalarType(const std::string& canonical)>& dtype,
                            uint64_t shard_bytes = 5'000'000'000);

}  // namespace lmnet
