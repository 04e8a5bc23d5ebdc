#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/tensor_file.h"

namespace lmnet {

/// The life of the folders `checkpoints/step-000001000/`. A folder stands under that name only when all of it is on the
/// disk; until then it is `.step-000001000.tmp`. Everything here throws CheckpointError naming the file.

/// `step-000001000` for update 1000.
std::string folder_name(int64_t update);

/// Called at points of a save where tests break it (trainer/fault_hook.h).
using SavePoint = std::function<void(const char*)>;

/// Writes one checkpoint, all ranks together; the caller agrees on failures and puts a barrier between the steps:
/// prepare() on rank 0 | add() and hand_in() on every rank | finish() on rank 0. A checkpoint that is never finished is
/// never listed, and clean_partial() removes its leftovers.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path checkpoints_dir, int64_t update, int rank, SavePoint at_point = nullptr);

  /// The folder while it is written.
  std::filesystem::path temporary() const;

  /// Rank 0: makes the temporary folder, removing what an earlier attempt left there.
  void prepare();

  /// Writes a host tensor into `KIND.NNNNN.h5` of this rank (kind: vertices, edges, embeddings, optimizer, …). A name
  /// is written once, by one rank.
  void add(const std::string& kind, const std::string& name, const at::Tensor& tensor);

  /// Every rank, those that added nothing too: completes this rank's files and leaves their digests for rank 0.
  void hand_in();

  /// Rank 0, after all vertex_parallel × data_parallel ranks handed in: adds the texts (`others` by file name) and the
  /// manifest (its update, files and tensors are filled in here) and gives the folder its name, in place of one that
  /// has it already. Returns the folder.
  std::filesystem::path finish(Manifest manifest, std::string_view config_yaml, std::string_view state_json,
                               const std::map<std::string, std::string>& others = {});

 private:
  std::filesystem::path part_path(int rank) const;
  void add_text(Manifest& manifest, const std::string& name, std::string_view text) const;
  std::filesystem::path publish() const;

  std::filesystem::path dir_;
  int64_t update_;
  int rank_;
  SavePoint at_point_;
  std::map<std::string, std::unique_ptr<TensorFileWriter>> files_;  // by name
};

/// The complete checkpoints (those with a manifest.json), newest first. A folder that is not there holds none.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& dir);

/// Removes what unfinished writers left; a checkpoint that was being replaced comes back first. No writer may be at
/// work.
void clean_partial(const std::filesystem::path& dir);

/// Removes the complete checkpoints beyond the `keep` newest (at least one stays), except those of every
/// `keep_every`-th update.
void keep_newest(const std::filesystem::path& dir, int keep, std::optional<int64_t> keep_every = std::nullopt,
                 const SavePoint& at_point = nullptr);

/// Reads the manifest of a checkpoint and checks that every file is there in full, with `verify` also its CRC.
Manifest open_checkpoint(const std::filesystem::path& folder, bool verify = false);

/// Reads a checkpoint by tensor names, each file opened when first needed. For one thread.
class CheckpointReader {
 public:
  /// Checks sizes as open_checkpoint() does.
  explicit CheckpointReader(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }

  /// Both check the tensor's CRC; the second converts the dtype if it differs and wants the same shape.
  at::Tensor read(const std::string& name) const;
  void read_into(const std::string& name, at::Tensor destination) const;

  /// All tensors, in the order of their names.
  std::vector<StoredTensor> tensors() const;

  std::string config_yaml() const { return read_checked("config.yaml"); }
  std::string state_json() const { return read_checked("state.json"); }

 private:
  const TensorFileReader& file(const std::string& name) const;
  const TensorFileReader& file_of(const std::string& tensor) const;
  std::string read_checked(const std::string& name) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  mutable std::map<std::string, TensorFileReader> files_;
};

/// Throws CheckpointError that begins with `what` unless the value has the shape that the network asks for.
void require_shape(const at::Tensor& value, at::IntArrayRef shape, std::string_view what);

/// The checkpoint to resume from: the newest one whose files are all whole, empty if there is none at all. `damaged`
/// tells what is wrong with each newer one. Reads every byte of the checkpoint it takes. One that was being replaced
/// when the run was killed comes back first.
struct ResumeChoice {
  std::optional<std::filesystem::path> checkpoint;
  std::vector<std::string> damaged;
};
/// Throws CheckpointError if there are checkpoints, but none is whole: the run must not silently begin anew.
ResumeChoice choose_checkpoint(const std::filesystem::path& dir);

}  // namespace lmnet
