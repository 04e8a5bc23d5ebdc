#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// What all backends for host tensors have in common: every collective is made from one exchange of bytes, so that
/// threads and MPI give the same bits.
class HostCommunicator : public Communicator {
 public:
  void all_to_all(const at::Tensor& send, std::span<const int64_t> send_counts, at::Tensor& receive,
                  std::span<const int64_t> receive_counts) final;
  void all_reduce(at::Tensor& tensor, Reduction reduction = Reduction::sum) final;
  void broadcast(at::Tensor& tensor, int root) final;
  void barrier() final;

 protected:
  using Outgoing = std::span<const std::byte>;
  using Incoming = std::span<std::byte>;

  /// Sends `send[r]` to each rank r and fills `receive[r]` from it; this rank is among them. `collective` is what
  /// errors call it. Memory of `send` and `receive` does not overlap, but for this rank's own parts, which may be the
  /// same.
  virtual void exchange(std::string_view collective, std::span<const Outgoing> send,
                        std::span<const Incoming> receive) = 0;

  /// Copies `bytes` of `root` to all ranks.
  virtual void broadcast_bytes(Incoming bytes, int root);

  /// The `value` of each rank, in rank order.
  std::vector<int> gather(std::string_view collective, int value);

 private:
  void reduce_whole(at::Tensor flat, Reduction reduction);
  void reduce_in_pieces(at::Tensor flat, Reduction reduction);
};

}  // namespace lmnet
