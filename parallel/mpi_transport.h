#pragma once
// Debian's mpi.h would also declare the C++ bindings that MPI has dropped.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <string_view>
#include <vector>

#include "parallel/transport.h"

namespace lmnet {

/// Throws CommunicationError with MPI's own text when `code` is not MPI_SUCCESS.
void check_mpi(int code, std::string_view call);

/// Processes of MPI. Tag 0 is for notices of failure. MPI does not carry the names of collectives: a message of wrong
/// length is found where it arrives.
class MpiTransport final : public Transport {
 public:
  /// `group` is used by nobody else and freed after this. Its error handler is MPI_ERRORS_RETURN.
  explicit MpiTransport(MPI_Comm group);
  ~MpiTransport() override;
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool carries_empty() const override { return false; }
  void post(Packet& message) override;
  void collect(std::vector<Arrival>& arrivals) override;
  void cancel_all() noexcept override;
  void tell(const Failure& failure, SteadyClock::duration patience) override;
  std::optional<Failure> hear() override;
  void rest(Bell& bell, SteadyClock::duration idle) override;

 private:
  void listen();

  MPI_Comm group_;
  int rank_ = 0;
  int size_ = 0;
  std::vector<MPI_Request> requests_;
  std::vector<Packet*> messages_;  // by request
  std::vector<int> finished_;
  std::vector<MPI_Status> statuses_;
  std::vector<char> told_;    // the notice of this rank, which may stay on its way
  std::vector<char> notice_;  // where that of another rank arrives
  MPI_Request notice_request_ = MPI_REQUEST_NULL;
};

}  // namespace lmnet
