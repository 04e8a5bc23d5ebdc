#include "parallel/communication_thread.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <set>

namespace lmnet {
namespace {

using namespace std::chrono_literals;

/// How long a failure may take to reach the other ranks.
constexpr auto telling_time = 1s;
/// Ranks that find a failure so soon after each other have found the same.
constexpr auto same_moment = 150ms;
/// After the last collective the next one may come at once: to sleep and to be woken takes longer.
constexpr auto hope_for_more = 50us;
/// How often a thread without work looks for failures of others.
constexpr auto listening_interval = 50ms;
/// Of which a pause is one of the whole process, stopped or starved, and not one of its peers.
constexpr auto own_pause = 1s;
/// After which nothing more is expected of what was under way when all was closed.
constexpr auto closing_silence = 500ms;

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

CommunicationThread::CommunicationThread(std::unique_ptr<Transport> transport, std::shared_ptr<Bell> bell)
    : transport_(std::move(transport)), bell_(std::move(bell)), rank_(transport_->rank()), size_(transport_->size()) {
  for (int r = 0; r < size_; ++r) {
    names_.push_back(fmt::format("rank {}", r));
  }
  enter("", 300s);
  if (size_ > 1) {
    thread_ = std::jthread([this] { run(); });
  }
}

CommunicationThread::~CommunicationThread() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = SteadyClock::now();
  }
  bell_->ring();
  if (thread_.joinable()) {
    thread_.join();
  }
}

std::string CommunicationThread::name(int rank) const {
  const std::lock_guard lock(mutex_);
  return names_[rank];
}

void CommunicationThread::set_names(std::vector<std::string> names) {
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
}

void CommunicationThread::enter(std::string phase, std::chrono::milliseconds timeout) {
  const std::lock_guard lock(mutex_);
  phase_ = std::make_shared<Operation::Phase>(Operation::Phase{std::move(phase), timeout});
}

void CommunicationThread::tell_failures_with(TellFailure tell) {
  const std::lock_guard lock(mutex_);
  tell_failure_ = std::move(tell);
}

void CommunicationThread::end_process_with(EndProcess end, std::chrono::milliseconds grace) {
  const std::lock_guard lock(mutex_);
  end_process_ = std::move(end);
  grace_ = grace;
}

Work CommunicationThread::start(std::shared_ptr<Operation> operation) {
  {
    const std::lock_guard lock(mutex_);
    operation->enter(phase_, bell_);
    if (failure_) {
      operation->finish(failure_);
      return Work(std::move(operation));
    }
    if (operation->stages.empty() && unfinished_ == 0) {
      return {};
    }
    ++unfinished_;
    started_.push_back(operation);
    if (!thread_.joinable()) {
      thread_ = std::jthread([this] { run(); });
    }
  }
  bell_->ring();
  return Work(std::move(operation));
}

void CommunicationThread::fail(const std::string& cause, int code) noexcept {
  try {
    std::unique_lock lock(mutex_);
    if (failure_ || request_) {
      return;
    }
    if (tell_failure_) {
      const TellFailure tell = tell_failure_;
      lock.unlock();
      tell(CommunicationError(cause));
      lock.lock();
    }
    if (!thread_.joinable()) {
      failure_ = std::make_shared<Failure>(Failure{.rank = rank_, .code = code, .cause = cause});
      return;
    }
    if (!request_) {
      request_ = Failure{.rank = rank_, .code = code, .cause = cause};
    }
    bell_->ring();
    told_cv_.wait_for(lock, telling_time + 200ms, [this] { return told_; });
  } catch (...) {
    // The others find out by their time-outs.
  }
}

void CommunicationThread::run() {
  at::get_num_threads();  // sets this thread's default, which would undo what follows
  omp_set_num_threads(1);
  const at::NoGradGuard no_grad;
  SteadyClock::time_point moved = SteadyClock::now();
  SteadyClock::time_point last = moved;
  while (accept(moved)) {
    const SteadyClock::time_point now = SteadyClock::now();
    if (now - last > own_pause) {
      for (auto& [tag, queue] : queues_) {
        queue.moved += now - last;
      }
    }
    last = now;
    try {
      moved = work(now) ? now : moved;
    } catch (const Failure& failure) {
      break_off(failure);
    } catch (const std::exception& error) {
      break_off({rank_, 4, fmt::format("{}: {}", name(rank_), first_line(error.what())), true});
    }
    if (!queues_.empty()) {
      transport_->rest(*bell_, now - moved);
    } else if (now - moved > hope_for_more) {
      bell_->wait_for(listening_interval);
    } else {
      std::this_thread::yield();
    }
  }
  abandon();
}

/// Takes what others have asked for. False when the thread is to end; `moved`: when something last did.
bool CommunicationThread::accept(SteadyClock::time_point moved) {
  std::optional<Failure> request;
  {
    const std::lock_guard lock(mutex_);
    const bool under_way = !broken_ && !(queues_.empty() && started_.empty());
    if (closed_ && (!under_way || SteadyClock::now() - std::max(moved, *closed_) > closing_silence)) {
      return false;
    }
    for (std::shared_ptr<Operation>& operation : started_) {
      queues_[operation->setting().queue].operations.push_back(std::move(operation));
    }
    started_.clear();
    request.swap(request_);
  }
  if (request) {
    break_off(*request);
  }
  return true;
}

/// True when something has moved.
bool CommunicationThread::work(SteadyClock::time_point now) {
  if (broken_) {
    end_ignored_process(now);
    return false;
  }
  if (const std::optional<Failure> notice = transport_->hear()) {
    break_off(*notice);
    return true;
  }
  collect(now);
  bool moved = !arrivals_.empty();
  for (auto queue = queues_.begin(); queue != queues_.end();) {
    while (!queue->second.operations.empty() && advance(queue->second, now)) {
      moved = true;
    }
    queue = queue->second.operations.empty() ? queues_.erase(queue) : std::next(queue);
  }
  return moved;
}

void CommunicationThread::collect(SteadyClock::time_point now) {
  arrivals_.clear();
  transport_->collect(arrivals_);
  for (const Arrival& arrival : arrivals_) {
    Packet& message = *arrival.message;
    Queue& queue = queues_.at(message.tag);
    check(*queue.operations.front(), arrival);
    queue.moved = now;
    if (message.rest.empty()) {
      message.done = true;
      --queue.moving;
    } else {
      post(message);
    }
  }
}

/// Runs the first operation of the queue as far as it goes. True when it is done.
bool CommunicationThread::advance(Queue& queue, SteadyClock::time_point now) {
  const std::shared_ptr<Operation> operation = queue.operations.front();
  try {
    while (!operation->stages.empty()) {
      Stage& stage = operation->stages.front();
      if (!queue.begun) {
        begin_stage(queue, now);
      }
      if (queue.moving > 0 || (stage.ready && !stage.ready())) {
        check_time(queue, now);
        return false;
      }
      if (stage.end) {
        stage.end();
      }
      queue.messages.clear();
      queue.begun = false;
      operation->stages.pop_front();
    }
  } catch (const std::exception& error) {
    throw failure_of(*operation, first_line(error.what()));
  }
  queue.operations.pop_front();
  --unfinished_;
  operation->finish(nullptr);
  return true;
}

void CommunicationThread::begin_stage(Queue& queue, SteadyClock::time_point now) {
  Operation& operation = *queue.operations.front();
  const Stage& stage = operation.stages.front();
  queue.begun = true;
  queue.moved = now;
  for (const Stage::Part& part : stage.begin ? stage.begin() : std::vector<Stage::Part>()) {
    if (!part.bytes.empty() || transport_->carries_empty()) {
      queue.messages.push_back({.peer = (*operation.setting().members)[part.peer],
                                .tag = operation.setting().queue,
                                .receive = part.receive,
                                .part = {},
                                .rest = part.bytes,
                                .total = part.bytes.size(),
                                .collective = operation.setting().collective});
    }
  }
  queue.moving = queue.messages.size();
  for (Packet& message : queue.messages) {
    post(message);
  }
}

void CommunicationThread::post(Packet& message) {
  message.next_part();
  transport_->post(message);
}

void CommunicationThread::check(const Operation& operation, const Arrival& arrival) const {
  const Packet& message = *arrival.message;
  if (!arrival.collective.empty() && arrival.collective != message.collective) {
    throw failure_of(operation, fmt::format("{} calls {} instead.", name(message.peer), arrival.collective));
  }
  const size_t expected = arrival.collective.empty() ? message.part.size() : message.total;
  if (arrival.bytes != expected) {
    const auto& [sender, receiver, sent, wanted] = message.receive
                                                       ? std::tuple(message.peer, rank_, arrival.bytes, expected)
                                                       : std::tuple(rank_, message.peer, expected, arrival.bytes);
    throw failure_of(operation, fmt::format("{} sends {} bytes to {}, which expects {}.", name(sender), sent,
                                            name(receiver), wanted));
  }
}

void CommunicationThread::check_time(const Queue& queue, SteadyClock::time_point now) const {
  const Operation& operation = *queue.operations.front();
  if (now - queue.moved <= operation.phase().timeout) {
    return;
  }
  std::set<int> missing;
  for (const Packet& message : queue.messages) {
    if (!message.done) {
      missing.insert(message.peer);
    }
  }
  std::vector<std::string> silent;
  for (const int peer : missing) {
    silent.push_back(name(peer));
  }
  throw failure_of(operation, no_answer(silent, now - queue.moved));
}

/// Found by this rank while it ran `operation`.
Failure CommunicationThread::failure_of(const Operation& operation, std::string_view what) const {
  const std::string& phase = operation.phase().name;
  return {.rank = rank_,
          .code = 4,
          .cause = fmt::format("{}: {}{}{}: {}", name(rank_), phase, phase.empty() ? "" : ": ",
                               operation.setting().collective, what),
          .noticed_here = true};
}

/// Tells all ranks of a failure of this one, and people of one that was found here. Where others have found one at the
/// same moment, that of the first rank is the failure; an error that no wait has brought about comes before them all.
void CommunicationThread::tell_others(Failure& failure) {
  try {
    transport_->tell(failure, telling_time);
    const SteadyClock::time_point end = SteadyClock::now() + same_moment;
    while (failure.noticed_here && SteadyClock::now() < end) {
      const std::optional<Failure> other = transport_->hear();
      if (other && (other->code != failure.code || other->rank < rank_)) {
        failure = *other;
      } else if (!other) {
        std::this_thread::sleep_for(1ms);
      }
    }
  } catch (const std::exception&) {
    // Those that are not told find out by their time-outs.
  }
  TellFailure tell;
  {
    const std::lock_guard lock(mutex_);
    tell = tell_failure_;
  }
  if (tell && failure.noticed_here) {
    tell(CommunicationError(failure.cause));
  }
}

/// Ends everything with the first failure of all. The others are told unless it comes from them.
void CommunicationThread::break_off(Failure failure) {
  if (broken_) {
    return;
  }
  broken_ = true;
  broken_at_ = SteadyClock::now();
  transport_->cancel_all();
  if (failure.rank == rank_) {
    tell_others(failure);
  }
  const auto shared = std::make_shared<const Failure>(failure);
  std::vector<std::shared_ptr<Operation>> ended;
  {
    const std::lock_guard lock(mutex_);
    failure_ = shared;
    ended.swap(started_);
    unfinished_ = 0;
  }
  for (auto& [tag, queue] : queues_) {
    ended.insert(ended.end(), queue.operations.begin(), queue.operations.end());
    if (queue.begun) {
      // What the messages point to is held by the stage.
      queue.operations = {std::make_shared<Operation>(queue.operations.front()->setting(),
                                                      std::exchange(queue.operations.front()->stages, {}))};
      remains_.push_back(std::move(queue));
    }
  }
  queues_.clear();
  for (const std::shared_ptr<Operation>& operation : ended) {
    operation->finish(shared);
  }
  const std::lock_guard lock(mutex_);
  told_ = true;
  told_cv_.notify_all();
}

void CommunicationThread::end_ignored_process(SteadyClock::time_point now) {
  EndProcess end;
  {
    const std::lock_guard lock(mutex_);
    if (now - broken_at_ > grace_) {
      end = end_process_;
    }
  }
  if (end) {
    try {
      failure_->raise();
    } catch (const CommunicationError& error) {
      end(error);
    }
  }
}

/// Nothing runs any more: what was started ends now.
void CommunicationThread::abandon() {
  break_off({.rank = -1,
             .code = 4,
             .cause = fmt::format("{}: a collective was under way when its communicators were closed.", name(rank_)),
             .noticed_here = true});
}

}  // namespace lmnet
