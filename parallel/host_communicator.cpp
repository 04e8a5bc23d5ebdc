#include "parallel/host_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "parallel/collective_check.h"
#include "parallel/errors.h"
#include "parallel/pieces.h"
#include "parallel/stages.h"

namespace lmnet {
namespace {

/// Below this a second round of messages costs more than the bytes it saves.
constexpr size_t whole_bytes = 64 << 10;

Stages::Range all_of(const at::Tensor& tensor) {
  return {0, tensor.numel()};
}

Stages::Range own_piece(const at::Tensor& flat, int size, int rank) {
  const int64_t first = piece_begin(flat.numel(), size, rank);
  return {first, piece_begin(flat.numel(), size, rank + 1) - first};
}

}  // namespace

HostCommunicator::HostCommunicator(std::shared_ptr<CommunicationThread> thread, std::vector<int> members, int queue)
    : thread_(std::move(thread)), members_(std::make_shared<const std::vector<int>>(std::move(members))) {
  rank_ = static_cast<int>(std::find(members_->begin(), members_->end(), thread_->rank()) - members_->begin());
  queue_ = queue;
}

Work HostCommunicator::start_all_to_all(at::Tensor send, std::span<const int64_t> send_counts, at::Tensor receive,
                                        std::span<const int64_t> receive_counts) {
  const Place from = place("all_to_all", send, true);
  const Place to = place("all_to_all", receive, true);
  require_none("all_to_all", fault_of_all_to_all(send, send_counts, receive, receive_counts, rank_, size()));
  Stages stages(rank_, size());
  stages.copy_out(from, all_of(send));
  stages.copy_out(to, {});
  stages.exchange(from, {send_counts.begin(), send_counts.end()}, to, {receive_counts.begin(), receive_counts.end()});
  stages.copy_back(to, all_of(receive));
  return start("all_to_all", stages.take(), to);
}

Work HostCommunicator::start_all_reduce(at::Tensor tensor, Reduction reduction) {
  const Place all = place("all_reduce", tensor, false);
  Stages stages(rank_, size());
  if (size() > 1) {
    stages.copy_out(all, all_of(tensor));
    if (tensor.nbytes() < whole_bytes) {
      stages.reduce_whole(all, reduction);
    } else {
      stages.reduce_own_piece(all, reduction);
      stages.gather_pieces(all);
    }
    stages.copy_back(all, all_of(tensor));
  }
  return start("all_reduce", stages.take(), all);
}

Work HostCommunicator::start_reduce_scatter(at::Tensor flat, Reduction reduction) {
  const Place all = place("reduce_scatter", flat, true);
  Stages stages(rank_, size());
  if (size() > 1) {
    stages.copy_out(all, all_of(flat));
    stages.reduce_own_piece(all, reduction);
    stages.copy_back(all, own_piece(flat, size(), rank_));
  }
  return start("reduce_scatter", stages.take(), all);
}

Work HostCommunicator::start_all_gather(at::Tensor flat) {
  const Place all = place("all_gather", flat, true);
  Stages stages(rank_, size());
  if (size() > 1) {
    stages.copy_out(all, own_piece(flat, size(), rank_));
    stages.gather_pieces(all);
    stages.copy_back(all, all_of(flat));
  }
  return start("all_gather", stages.take(), all);
}

Work HostCommunicator::start_broadcast(at::Tensor tensor, int root) {
  require_none("broadcast", fault_of_root(root, size()));
  const Place all = place("broadcast", tensor, false);
  Stages stages(rank_, size());
  if (size() > 1) {
    stages.copy_out(all, rank_ == root ? all_of(tensor) : Stages::Range());
    stages.spread(all, root);
    stages.copy_back(all, all_of(tensor));
  }
  return start("broadcast", stages.take(), all);
}

void HostCommunicator::barrier() {
  gather("barrier", 0);
}

std::unique_ptr<Communicator> HostCommunicator::split(int color) {
  const std::vector<int64_t> colors = gather("split", color);
  std::vector<int> ranks;
  for (int r = 0; r < size(); ++r) {
    if (colors[r] == color) {
      ranks.push_back(r);
    }
  }
  return subgroup(std::move(ranks));
}

std::unique_ptr<Communicator> HostCommunicator::subgroup(std::vector<int> ranks) {
  const bool ascending = std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) == ranks.end();
  if (!ascending || std::ranges::count(ranks, rank_) != 1 || ranks.front() < 0 || ranks.back() >= size()) {
    require_none("subgroup", "its ranks must be ascending ranks of the group with this one among them.");
  }
  for (int& r : ranks) {
    r = (*members_)[r];
  }
  return std::make_unique<HostCommunicator>(thread_, std::move(ranks), queue_);
}

std::unique_ptr<Communicator> HostCommunicator::fork() {
  const std::vector<int64_t> free = gather("fork", thread_->next_queue());
  const int queue = static_cast<int>(*std::max_element(free.begin(), free.end()));
  thread_->use_queue(queue);
  return std::make_unique<HostCommunicator>(thread_, *members_, queue);
}

void HostCommunicator::enter(std::string phase, std::chrono::milliseconds timeout) {
  thread_->enter(std::move(phase), timeout);
}

void HostCommunicator::fail(const std::string& cause, int code) noexcept {
  thread_->fail(cause, code);
}

Work HostCommunicator::start(std::string_view collective, std::deque<Stage> stages, Place result) {
  std::function<void()> after;
  if (result->needed()) {
    after = [result] { result->join(); };
  }
  return thread_->start(std::make_shared<Operation>(Operation::Setting{collective, members_, queue_}, std::move(stages),
                                                    std::move(after)));
}

HostCommunicator::Place HostCommunicator::place(std::string_view collective, at::Tensor tensor, bool flat) const {
  require_none(collective, fault_of_tensor(tensor, flat, at::kCUDA));
  return std::make_shared<Staging>(std::move(tensor));
}

void HostCommunicator::require_none(std::string_view collective, std::string_view fault) const {
  if (fault.empty()) return;
  throw CommunicationError(fmt::format("{}: {}: {}", thread_->name(thread_->rank()), collective, fault));
}

/// The `value` of each rank, in rank order.
std::vector<int64_t> HostCommunicator::gather(std::string_view collective, int64_t value) {
  const at::Tensor values = at::full({size()}, value, at::kLong);
  Stages stages(rank_, size());
  if (size() > 1) {
    stages.gather_pieces(std::make_shared<Staging>(values));
  }
  start(collective, stages.take(), std::make_shared<Staging>(values)).wait();
  const auto* first = values.const_data_ptr<int64_t>();
  return {first, first + size()};
}

}  // namespace lmnet
