#include "parallel/thread_communicator.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "parallel/errors.h"
#include "parallel/host_communicator.h"

namespace lmnet {
namespace {

/// What all groups of a world share: one lock and one bell, so that an abort wakes every waiter.
struct Job {
  std::mutex mutex;
  std::condition_variable bell;
  std::optional<std::string> ended_by;  // why, once a rank has called abort()
};

/// What one rank shows the others of its group during a collective.
struct Slot {
  std::string collective;
  std::vector<std::span<const std::byte>> send;
  std::vector<size_t> expected;  // bytes from each rank
};

/// A group of ranks. A collective has two meetings: after the first, all slots may be read; after the second, the
/// memory they point to belongs to its rank again.
class Group {
 public:
  Group(std::shared_ptr<Job> shared_job, int size) : job(std::move(shared_job)), slots(size), children(size) {}

  /// First meeting. Throws CommunicationError when the job ends before all have come.
  void meet(int world_rank, std::string_view collective) {
    std::unique_lock lock(job->mutex);
    const bool open = job->ended_by ? false : wait(lock, [this] { return job->ended_by.has_value(); });
    if (!open) {
      throw CommunicationError(fmt::format("rank {}: {} cannot end: {}.", world_rank, collective, *job->ended_by));
    }
  }

  /// Second meeting: all of them come, since nothing between the two meetings waits; so no abort may cut it short
  /// while another rank still reads this one's memory.
  void leave() {
    std::unique_lock lock(job->mutex);
    wait(lock, [] { return false; });
  }

  const std::shared_ptr<Job> job;
  std::vector<Slot> slots;
  std::vector<std::shared_ptr<Group>> children;  // while they split: the new group of each color's first rank

 private:
  /// True when all ranks have come, false when `ended` came first.
  template <class Ended>
  bool wait(std::unique_lock<std::mutex>& lock, Ended ended) {
    if (++arrived_ == slots.size()) {
      arrived_ = 0;
      ++meeting_;
      job->bell.notify_all();
      return true;
    }
    const uint64_t mine = meeting_;
    job->bell.wait(lock, [&] { return meeting_ != mine || ended(); });
    return meeting_ != mine;
  }

  size_t arrived_ = 0;
  uint64_t meeting_ = 0;
};

/// Every rank checks all pairs, so that all of them find the same fault and none is left alone.
void check_agreement(std::span<const Slot> slots, int world_rank) {
  for (size_t from = 0; from < slots.size(); ++from) {
    if (slots[from].collective != slots[0].collective) {
      throw CommunicationError(fmt::format("rank {}: in its group rank 0 calls {} while rank {} calls {}.", world_rank,
                                           slots[0].collective, from, slots[from].collective));
    }
    for (size_t to = 0; to < slots.size(); ++to) {
      if (slots[from].send[to].size() != slots[to].expected[from]) {
        throw CommunicationError(
            fmt::format("rank {}: {}: in its group rank {} sends {} bytes to rank {}, which expects {}.", world_rank,
                        slots[from].collective, from, slots[from].send[to].size(), to, slots[to].expected[from]));
      }
    }
  }
}

class ThreadCommunicator final : public HostCommunicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank, int world_rank)
      : group_(std::move(group)), rank_(rank), world_rank_(world_rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->slots.size()); }

  std::unique_ptr<Communicator> split(int color) override {
    const std::vector<int> colors = gather("split", color);
    const auto leader = std::find(colors.begin(), colors.end(), color) - colors.begin();
    if (leader == rank_) {
      const auto members = std::count(colors.begin(), colors.end(), color);
      group_->children[leader] = std::make_shared<Group>(group_->job, static_cast<int>(members));
    }
    barrier();
    const std::shared_ptr<Group> child = group_->children[leader];
    barrier();
    group_->children[rank_].reset();
    const auto place = std::count(colors.begin(), colors.begin() + rank_, color);
    return std::make_unique<ThreadCommunicator>(child, static_cast<int>(place), world_rank_);
  }

  void abort(int code) noexcept override {
    const std::lock_guard lock(group_->job->mutex);
    if (!group_->job->ended_by) {
      group_->job->ended_by = fmt::format("rank {} failed and ended the job with code {}", world_rank_, code);
    }
    group_->job->bell.notify_all();
  }

 private:
  void exchange(std::string_view collective, std::span<const Outgoing> send,
                std::span<const Incoming> receive) override {
    Slot& mine = group_->slots[rank_];
    mine.collective = collective;
    mine.send.assign(send.begin(), send.end());
    mine.expected.resize(receive.size());
    std::transform(receive.begin(), receive.end(), mine.expected.begin(), [](Incoming part) { return part.size(); });

    group_->meet(world_rank_, collective);
    struct Leave {
      Group& group;
      ~Leave() { group.leave(); }
    } const leave{*group_};
    check_agreement(group_->slots, world_rank_);
    for (size_t from = 0; from < receive.size(); ++from) {
      const Outgoing part = group_->slots[from].send[rank_];
      if (!part.empty() && part.data() != receive[from].data()) {
        std::memcpy(receive[from].data(), part.data(), part.size());
      }
    }
  }

  std::shared_ptr<Group> group_;
  int rank_;
  int world_rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size) {
  const auto world = std::make_shared<Group>(std::make_shared<Job>(), size);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < size; ++rank) {
    communicators.push_back(std::make_unique<ThreadCommunicator>(world, rank, rank));
  }
  return communicators;
}

void run_ranks(int size, const std::function<void(Communicator&)>& body) {
  const auto communicators = make_thread_communicators(size);
  std::mutex mutex;
  std::exception_ptr first;
  const int compute_threads = std::max(1, at::get_num_threads() / size);
  {
    std::vector<std::jthread> threads;
    for (const auto& communicator : communicators) {
      threads.emplace_back([&, compute_threads] {
        try {
          at::get_num_threads();  // sets this thread's default, which would undo what follows
          omp_set_num_threads(compute_threads);
          body(*communicator);
        } catch (...) {
          {
            const std::lock_guard lock(mutex);
            first = first ? first : std::current_exception();
          }
          communicator->abort(1);
        }
      });
    }
  }
  if (first) {
    std::rethrow_exception(first);
  }
}

}  // namespace lmnet
