#pragma once
#include <nccl.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "parallel/communicator.h"
#include "parallel/watchdog.h"

namespace lmnet {

/// One of NCCL's communicators. It does not block the host for longer than the watchdog allows, and can be ended while
/// others use it.
class NcclGroup {
 public:
  /// Over the ranks of `host`, which takes NCCL's id to them. Collective. Throws CommunicationError.
  NcclGroup(Communicator& host, Watchdog& watchdog);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  int size() const { return size_; }

  /// Lets `calls` start operations as one group, each of which says how that went; when this returns they are on their
  /// stream. Throws CommunicationError.
  void submit(const Watchdog::Label& label, const std::function<ncclResult_t(ncclComm_t)>& calls);

  /// Ends its operations, also those that wait for other ranks. It is of no use afterwards.
  void abort() noexcept;

  /// Throws CommunicationError when NCCL has found that another rank or the network is gone.
  void check();

 private:
  /// Waits until NCCL has made ready what it was asked for. `mutex_` is held.
  void settle(const Watchdog::Label& label, ncclResult_t result);
  ncclResult_t state() const;
  [[noreturn]] void give_up(const Watchdog::Label& label, ncclResult_t result) const;

  Watchdog& watchdog_;
  int size_;
  std::mutex mutex_;  // of comm_
  ncclComm_t comm_ = nullptr;
};

}  // namespace lmnet
