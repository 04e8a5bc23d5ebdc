#include "parallel/cuda/nccl_group.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "parallel/errors.h"

namespace lmnet {
namespace {

using Clock = std::chrono::steady_clock;

// NCCL is mostly ready at once, but for the first operations between two ranks.
constexpr int kBusyQuestions = 200;
constexpr std::chrono::microseconds kPause{500};

/// The id that rank 0 makes, at all ranks.
ncclUniqueId common_id(Communicator& host) {
  ncclUniqueId id{};
  ncclResult_t result = ncclSuccess;
  if (host.rank() == 0) result = ncclGetUniqueId(&id);
  at::Tensor words = at::zeros({1 + static_cast<int64_t>(sizeof(id) / sizeof(int64_t))}, at::kLong);
  auto* const data = words.mutable_data_ptr<int64_t>();
  data[0] = result;
  std::memcpy(data + 1, &id, sizeof(id));
  host.broadcast(words, 0);
  if (data[0] != ncclSuccess)
    throw CommunicationError(
        fmt::format("NCCL cannot start on rank 0: {}: NCCL_DEBUG=INFO says more, "
                    "NCCL_SOCKET_IFNAME names the network interface to use",
                    ncclGetErrorString(static_cast<ncclResult_t>(data[0]))));
  std::memcpy(&id, data + 1, sizeof(id));
  return id;
}

}  // namespace

NcclGroup::NcclGroup(Communicator& host, Watchdog& watchdog) : watchdog_(watchdog), size_(host.size()) {
  const ncclUniqueId id = common_id(host);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    settle({"start of NCCL", {}}, ncclCommInitRankConfig(&comm_, size_, id, host.rank(), &config));
  } catch (...) {
    abort();
    throw;
  }
}

NcclGroup::~NcclGroup() {
  const bool orderly = std::uncaught_exceptions() == 0 && !watchdog_.failed();
  try {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return;
    if (orderly) {
      settle({"end of NCCL", {}}, ncclCommFinalize(comm_));
      ncclCommDestroy(std::exchange(comm_, nullptr));
    }
  } catch (const std::exception&) {
    // What cannot be ended in order is ended anyhow.
  }
  abort();
}

void NcclGroup::submit(const Watchdog::Label& label, const std::function<ncclResult_t(ncclComm_t)>& calls) {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) {
    watchdog_.check();
    throw CommunicationError(fmt::format("{}: NCCL was ended", label.collective));
  }
  ncclResult_t result = ncclGroupStart();
  if (result == ncclSuccess) {
    result = calls(comm_);
    const ncclResult_t end = ncclGroupEnd();
    if (result == ncclSuccess || result == ncclInProgress) result = end;
  }
  settle(label, result);
}

void NcclGroup::settle(const Watchdog::Label& label, ncclResult_t result) {
  const auto start = Clock::now();
  const auto timeout = watchdog_.timeout();
  int asked = 0;
  while (result == ncclInProgress) {
    watchdog_.check();  // whoever keeps a cause there wants comm_, to abort it
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
    if (waited > timeout) throw CommunicationError(watchdog_.too_long(label, watchdog_.phase(), waited));
    if (++asked < kBusyQuestions) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
    result = state();
  }
  if (result != ncclSuccess) give_up(label, result);
}

ncclResult_t NcclGroup::state() const {
  ncclResult_t result = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
  return asked == ncclSuccess ? result : asked;
}

void NcclGroup::give_up(const Watchdog::Label& label, ncclResult_t result) const {
  const std::string phase = watchdog_.phase();
  throw CommunicationError(fmt::format(
      "{}: {}{}{}: NCCL: {} ({}); look at what the other ranks report, NCCL_DEBUG=INFO says more.", watchdog_.name(),
      phase, phase.empty() ? "" : ": ", label.collective, ncclGetErrorString(result), ncclGetLastError(comm_)));
}

void NcclGroup::abort() noexcept {
  const std::lock_guard lock(mutex_);
  if (comm_ != nullptr) ncclCommAbort(comm_);
  comm_ = nullptr;
}

void NcclGroup::check() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || comm_ == nullptr) return;  // whoever holds it looks himself
  const ncclResult_t result = state();
  if (result != ncclSuccess && result != ncclInProgress) give_up({"on its way", {}}, result);
}

}  // namespace lmnet
