#pragma once
#include <ATen/core/Tensor.h>

#include <string_view>

#include "model/hugging_face.h"
#include "model/network.h"

namespace lmnet {

/// The classes of the official implementation, each with parameter names of its own: LMNet (GPT-2), LMNetForCausalLM,
/// LMNetForCausalLMS, LMNetForSequenceClassification, LMNetForSequenceClassificationS (S: a copy for each vertex).
enum class ReferenceClass { gpt2, causal, causal_separate, classifier, classifier_separate };

/// Where a class of the official implementation keeps a parameter of ours; its `name` is that in the state dict, for
/// example `ws.3.model.self_attn.q_proj.weight`.
using ReferenceTensor = HuggingFaceTensor;

/// The place of the parameter `canonical` of a network with this shape and graph (reference/lmnet-reference-spec: 1.5
/// order of `ws`, 2.1 the chained input blocks, counted from the end, 3.8 and 4.2 separate vertices). The graph must be
/// layered, with the edge kinds of that class: throws ConfigError naming the parameter where the class has no such one.
ReferenceTensor reference_tensor(ReferenceClass cls, const NetworkShape& shape, const Graph& graph,
                                 std::string_view canonical);

/// The view of `stored` (the whole tensor under `at.name`, or its gradient) that is our parameter, in our shape:
/// reading it imports, writing into it exports.
at::Tensor reference_view(const ReferenceTensor& at, const at::Tensor& stored);

}  // namespace lmnet
