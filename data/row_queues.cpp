#include "data/row_queues.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>

namespace lmnet {
namespace {

void append(TokenBatch& batch, const TokenBatch& row) {
  batch.tokens.insert(batch.tokens.end(), row.tokens.begin(), row.tokens.end());
  batch.learn.insert(batch.learn.end(), row.learn.begin(), row.learn.end());
  batch.starts.insert(batch.starts.end(), row.starts.begin(), row.starts.end());
}

/// Calls action(0) … action(count - 1) on so many threads and waits; the first exception is thrown here.
void on_threads(int threads, size_t count, const std::function<void(size_t)>& action) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      try {
        action(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

RowQueues::RowQueues(std::vector<Stream> streams, Readahead ahead)
    : streams_(std::move(streams)), queues_(streams_.size()), ahead_(ahead) {
  for (size_t i = 0; i < streams_.size(); ++i) queues_[i].position = streams_[i].position();
  start();
}

RowQueues::~RowQueues() {
  stop();
}

void RowQueues::start() {
  stopping_ = false;
  for (int i = 0; i < ahead_.threads; ++i) threads_.emplace_back([this] { work(); });
}

void RowQueues::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void RowQueues::append_row(size_t stream, TokenBatch& batch) {
  const auto note = [&](std::vector<SkippedRecord> met) {
    skipped_.insert(skipped_.end(), std::make_move_iterator(met.begin()), std::make_move_iterator(met.end()));
  };
  if (ahead_.threads == 0) {
    streams_[stream].append_row(batch);
    return note(streams_[stream].take_skipped());
  }
  Queue& queue = queues_[stream];
  std::unique_lock lock(mutex_);
  made_.wait(lock, [&] { return !queue.ready.empty() || queue.failure; });
  if (queue.ready.empty()) std::rethrow_exception(queue.failure);
  Row row = std::move(queue.ready.front());
  queue.ready.pop_front();
  queue.position = std::move(row.after);
  queue.text_bytes = row.text_bytes;
  lock.unlock();
  wanted_.notify_one();
  append(batch, row.cells);
  note(std::move(row.skipped));
}

StreamPosition RowQueues::position(size_t stream) const {
  return ahead_.threads == 0 ? streams_[stream].position() : queues_[stream].position;
}

int64_t RowQueues::text_bytes() const {
  int64_t sum = 0;
  for (size_t i = 0; i < streams_.size(); ++i)
    sum += ahead_.threads == 0 ? streams_[i].text_bytes() : queues_[i].text_bytes;
  return sum;
}

void RowQueues::go(const std::vector<StreamPosition>& positions) {
  stop();
  skipped_.clear();
  for (Stream& stream : streams_) stream.reset();
  for (size_t i = 0; i < streams_.size(); ++i) {
    queues_[i] = {};
    queues_[i].position = positions[i];
    streams_[i].go(positions[i]);
  }
  on_threads(std::max(1, ahead_.threads), streams_.size(),
             [&](size_t i) { streams_[i].read_partly_taken(positions[i]); });
  start();
}

void RowQueues::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (Queue* queue = neediest()) {
      fill(*queue, lock);
    } else {
      wanted_.wait(lock);
    }
  }
}

/// The stream with fewest rows ready, of those that nobody works on; null where enough rows wait.
RowQueues::Queue* RowQueues::neediest() {
  Queue* found = nullptr;
  for (Queue& queue : queues_) {
    if (queue.busy || queue.failure || std::ssize(queue.ready) + ahead_.at_once > ahead_.rows) continue;
    if (!found || queue.ready.size() < found->ready.size()) found = &queue;
  }
  return found;
}

void RowQueues::fill(Queue& queue, std::unique_lock<std::mutex>& lock) {
  Stream& stream = streams_[&queue - queues_.data()];
  queue.busy = true;
  lock.unlock();
  std::vector<Row> made;
  std::exception_ptr failure;
  try {
    for (int64_t i = 0; i < ahead_.at_once; ++i) {
      Row row;
      stream.append_row(row.cells);
      row.after = stream.position();
      row.text_bytes = stream.text_bytes();
      row.skipped = stream.take_skipped();
      made.push_back(std::move(row));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  for (Row& row : made) queue.ready.push_back(std::move(row));
  queue.failure = failure;
  queue.busy = false;
  made_.notify_all();
}

}  // namespace lmnet
