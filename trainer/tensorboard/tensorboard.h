#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/graph/graph.h"
#include "trainer/tensorboard/event_file.h"

namespace lmnet {

/// The event files of a run for TensorBoard, beside metrics.jsonl and with the same numbers. Throws CheckpointError for
/// what cannot be written; events are kept then, and written with the next ones.
class TensorBoard {
 public:
  /// Begins a file in the folder. It takes over what earlier files there say of updates up to `update`, where the run
  /// goes on, and replaces them: no point stands twice, and a TensorBoard that looks on forgets the rest.
  TensorBoard(const std::filesystem::path& folder, int64_t update);

  /// What the run is: its config as text, its graph as text and picture.
  void describe(const std::string& config_yaml, const std::string& graph_text, const Graph& graph);

  /// The numbers of a line of metrics.jsonl, under the names that they have there: `loss`, `lr/edges`.
  void add(const nlohmann::ordered_json& metrics);

 private:
  void write();

  std::optional<EventFile> file_;
  std::vector<EventBytes> unwritten_;
};

}  // namespace lmnet
