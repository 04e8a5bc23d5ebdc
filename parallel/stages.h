#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/operation.h"
#include "parallel/staging.h"

namespace lmnet {

/// The stages of which the collectives of a group of `size` ranks are made, as seen by `rank`. The tensors of a
/// `Staging` are shared by the stages of an operation.
class Stages {
 public:
  using Place = std::shared_ptr<Staging>;
  /// Elements of a tensor seen as 1-D.
  struct Range {
    int64_t first = 0, count = 0;
  };

  Stages(int rank, int size) : rank_(rank), size_(size) {}

  /// Brings a device tensor to the host, or back; a host tensor needs no stage. Out: only the elements of `range`.
  void copy_out(const Place& place, Range range);
  void copy_back(const Place& place, Range range);

  /// Every rank gets its part of what every rank sends; counts are elements.
  void exchange(const Place& send, std::vector<int64_t> send_counts, const Place& receive,
                std::vector<int64_t> receive_counts);
  /// Every rank gets the whole of all and reduces it: one round of messages.
  void reduce_whole(const Place& place, Reduction reduction);
  /// Piece `rank` becomes its reduction over all, in rounds that need 64 MiB beside the tensor at most.
  void reduce_own_piece(const Place& place, Reduction reduction);
  /// Every other piece r becomes that of rank r.
  void gather_pieces(const Place& place);
  /// From `root` down a binomial tree.
  void spread(const Place& place, int root);

  std::deque<Stage> take() { return std::move(stages_); }

 private:
  int rank_, size_;
  std::deque<Stage> stages_;
};

}  // namespace lmnet
