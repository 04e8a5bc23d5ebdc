#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/plan.h"
#include "trainer/device.h"
#include "trainer/model_spec.h"

namespace lmnet {

/// `1.14 G`, `15.7 M`, `2048`: a count for people. With a unit, as of tokens: `1.14 Gt`, `82 Kt`, `2048 t`.
std::string short_count(double count, std::string_view unit = "");
/// `1 file`, `3 files`.
std::string counted(int64_t count, std::string_view noun);
/// `12.5 GiB`.
std::string gib(double bytes);
/// `1 h 05 min`, `3 min 20 s`, `12 s`: a time to wait, for people.
std::string short_time(double seconds);
/// The most memory that this process ever held, in GiB: of the host, or in tensors of its GPU.
double peak_memory_gib(const RankDevice& where = {});
/// What it holds now.
double memory_gib(const RankDevice& where = {});

/// Parameters by part, and which of them train in each stage.
std::string parameter_table(const ModelSpec& spec, const std::vector<StageConfig>& stages);

/// Model FLOP for one token of the batch, attention included: forward and, where something trains, backward; a frozen
/// weight costs 4 (its input's gradient), a trained one 6, each time that it is used.
double training_flops_per_token(const ModelSpec& spec, const Trains& trains, int64_t sequence_length);

/// The graph as lines of levels: vertices, the edges between them, the groups.
std::string draw_topology(const Graph& graph);

}  // namespace lmnet
