#pragma once
// Debian's mpi.h would also declare the C++ bindings that MPI has dropped.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/host_communicator.h"

namespace lmnet {

/// Throws CommunicationError with MPI's own text when `code` is not MPI_SUCCESS.
void check_mpi(int code, std::string_view call);

/// A group of MPI processes. A wait during which nothing moves for longer than the time-out ends in a
/// CommunicationError that names this rank, its host, the collective and the ranks that are missing; the group is of no
/// use afterwards.
class MpiCommunicator final : public HostCommunicator {
 public:
  /// Duplicates `group`. `names` says for each of its ranks how errors call it. Collective over `group`.
  MpiCommunicator(MPI_Comm group, std::vector<std::string> names, std::chrono::seconds timeout);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(names_.size()); }
  std::unique_ptr<Communicator> split(int color) override;
  void abort(int code) noexcept override;

 private:
  struct Message;
  struct Pending;

  void exchange(std::string_view collective, std::span<const Outgoing> send,
                std::span<const Incoming> receive) override;
  void exchange_round(std::string_view collective, std::span<const Outgoing> send, std::span<const Incoming> receive,
                      size_t offset);
  void broadcast_bytes(Incoming bytes, int root) override;
  /// Polls until all is done, more slowly when nothing moves. Throws CommunicationError.
  void wait(std::string_view collective, Pending& pending) const;
  [[noreturn]] void give_up(std::string_view collective, const Pending& pending) const;
  void check_length(std::string_view collective, const Message& message, const MPI_Status& status) const;

  std::vector<std::string> names_;
  std::chrono::seconds timeout_;
  MPI_Comm group_ = MPI_COMM_NULL;
  int rank_ = 0;
};

}  // namespace lmnet
