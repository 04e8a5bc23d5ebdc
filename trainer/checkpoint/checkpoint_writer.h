#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/tensor_file_writer.h"

namespace lmnet {

/// Called at points of a save where tests break it (trainer/run/fault_hook.h).
using SavePoint = std::function<void(const char*)>;

/// Writes one checkpoint, all ranks together. It grows under a temporary name, so that there is never a part of one
/// under its own; the caller agrees on failures and puts a barrier between the steps:
///   prepare() on rank 0 | add(), hand_in() on every rank | finish() on rank 0 | check() on every rank.
/// A checkpoint that is never finished is never listed, and clean_partial() removes its leftovers. Throws
/// CheckpointError.
class CheckpointWriter {
 public:
  /// `folder`: its name once it is complete.
  CheckpointWriter(std::filesystem::path folder, int rank, SavePoint at_point = nullptr);

  const std::filesystem::path& folder() const { return folder_; }
  /// Where it is while it is written.
  std::filesystem::path temporary() const;

  /// Rank 0: makes the temporary folder, removing what an earlier attempt left there.
  void prepare();

  /// Writes into `KIND.NNNNN.h5` of this rank (kind: vertices, edges, embeddings, optimizer, …). Every element of a
  /// tensor is written once, by one rank.
  void add(const std::string& kind, const std::string& name, const at::Tensor& tensor);
  void add(const std::string& kind, const StoredTensor& tensor, std::span<const std::byte> bytes);
  /// Notes a whole tensor that is found elsewhere.
  void refer(const StoredTensor& tensor, const std::string& reference_name, const ManifestReference& reference);

  /// Every rank, those that added nothing too: completes this rank's files and leaves what it knows of them for rank 0.
  /// Ends early when asked to stop.
  void hand_in(const std::stop_token& asked = {});

  /// Gives up what is not complete; from here on this rank has nothing open there.
  void discard() { files_.clear(); }

  /// Rank 0, after all vertex_parallel × data_parallel ranks handed in: adds the texts by file name and the manifest
  /// (its files and tensors are filled in here) and gives the folder its name, in place of one that has it already.
  /// Returns what went wrong after that, when the checkpoint stands; empty if nothing did.
  std::string finish(Manifest manifest, const std::map<std::string, std::string>& texts);

  /// Every rank: reads its files again and holds them against what was written. Ends early when asked to stop.
  void check(const std::stop_token& asked = {}) const;

 private:
  std::filesystem::path part_path(int rank) const;
  void take_parts(Manifest& manifest) const;
  std::string publish() const;

  std::filesystem::path folder_;
  int rank_;
  SavePoint at_point_;
  std::map<std::string, TensorFileWriter> files_;  // by name
  Manifest part_;                                  // this rank's
};

}  // namespace lmnet
