#include "parallel/thread_transport.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>

namespace lmnet {
namespace {

/// What the ranks share. A message is copied by whoever comes second, so that once it is taken back nobody touches its
/// memory.
class PostOffice {
 public:
  explicit PostOffice(const std::vector<std::shared_ptr<Bell>>& bells) : bells_(bells), ranks_(bells.size()) {}

  int size() const { return static_cast<int>(bells_.size()); }

  void post(int rank, Packet& message) {
    const std::lock_guard lock(mutex_);
    const int from = message.receive ? message.peer : rank;
    const int to = message.receive ? rank : message.peer;
    std::deque<Letter>& letters = waiting_[{from, to, message.tag}];
    if (letters.empty() || letters.front().message->receive == message.receive) {
      letters.push_back({rank, &message});
      return;
    }
    const Letter other = letters.front();
    letters.pop_front();
    const Packet& send = message.receive ? *other.message : message;
    const Packet& receive = message.receive ? message : *other.message;
    if (send.part.size() == receive.part.size() && !send.part.empty()) {
      std::memcpy(receive.part.data(), send.part.data(), send.part.size());
    }
    ranks_[rank].arrivals.push_back({&message, other.message->total, other.message->collective});
    ranks_[other.rank].arrivals.push_back({other.message, message.total, message.collective});
    bells_[rank]->ring();
    bells_[other.rank]->ring();
  }

  void collect(int rank, std::vector<Arrival>& arrivals) {
    const std::lock_guard lock(mutex_);
    auto& arrived = ranks_[rank].arrivals;
    arrivals.insert(arrivals.end(), arrived.begin(), arrived.end());
    arrived.clear();
  }

  void cancel_all(int rank) {
    const std::lock_guard lock(mutex_);
    ranks_[rank].arrivals.clear();
    for (auto& [key, letters] : waiting_) {
      std::erase_if(letters, [&](const Letter& letter) { return letter.rank == rank; });
    }
  }

  void tell(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    for (int rank = 0; rank < size(); ++rank) {
      if (rank != failure.rank) {
        ranks_[rank].notices.push_back(failure);
        bells_[rank]->ring();
      }
    }
  }

  std::optional<Failure> hear(int rank) {
    const std::lock_guard lock(mutex_);
    std::deque<Failure>& notices = ranks_[rank].notices;
    if (notices.empty()) {
      return std::nullopt;
    }
    Failure notice = std::move(notices.front());
    notices.pop_front();
    return notice;
  }

 private:
  struct Letter {
    int rank;
    Packet* message;
  };
  struct Rank {
    std::vector<Arrival> arrivals;
    std::deque<Failure> notices;
  };

  std::mutex mutex_;
  const std::vector<std::shared_ptr<Bell>> bells_;
  std::vector<Rank> ranks_;
  std::map<std::tuple<int, int, int>, std::deque<Letter>> waiting_;  // by sender, receiver and tag
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<PostOffice> office, int rank) : office_(std::move(office)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return office_->size(); }
  bool carries_empty() const override { return true; }
  void post(Packet& message) override { office_->post(rank_, message); }
  void collect(std::vector<Arrival>& arrivals) override { office_->collect(rank_, arrivals); }
  void cancel_all() noexcept override { office_->cancel_all(rank_); }
  void tell(const Failure& failure, SteadyClock::duration) override { office_->tell(failure); }
  std::optional<Failure> hear() override { return office_->hear(rank_); }
  void rest(Bell& bell, SteadyClock::duration) override { bell.wait_for(std::chrono::milliseconds(20)); }

 private:
  std::shared_ptr<PostOffice> office_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_thread_transports(const std::vector<std::shared_ptr<Bell>>& bells) {
  const auto office = std::make_shared<PostOffice>(bells);
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < office->size(); ++rank) {
    transports.push_back(std::make_unique<ThreadTransport>(office, rank));
  }
  return transports;
}

}  // namespace lmnet
