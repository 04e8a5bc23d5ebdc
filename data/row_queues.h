#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "data/stream.h"

namespace lmnet {

/// How rows are made ready before they are wanted.
struct Readahead {
  int threads = 0;      // 0: rows are made when they are taken
  int64_t at_once = 1;  // rows of a stream that a thread makes in one go
  int64_t rows = 1;     // of each stream that may wait
};

/// The streams of a rank, with threads that read, decompress, tokenise and pack ahead. One thread at a time works on a
/// stream, so that their number changes nothing in its rows. Used by one thread.
class RowQueues {
 public:
  RowQueues(std::vector<Stream> streams, Readahead ahead);
  ~RowQueues();
  RowQueues(const RowQueues&) = delete;
  RowQueues& operator=(const RowQueues&) = delete;

  size_t size() const { return streams_.size(); }
  /// Appends the next row of a stream; waits for it. Throws DataError where making it failed.
  void append_row(size_t stream, TokenBatch& batch);
  /// Of a stream's next row.
  StreamPosition position(size_t stream) const;
  /// Text of all rows taken, in bytes.
  int64_t text_bytes() const;

  /// Bad records on the way to the rows taken since the last call, some of them perhaps again.
  std::vector<SkippedRecord> take_skipped() { return std::exchange(skipped_, {}); }

  /// One position for each stream. Throws DataError.
  void go(const std::vector<StreamPosition>& positions);

 private:
  struct Row {
    TokenBatch cells;
    StreamPosition after;
    int64_t text_bytes = 0;
    std::vector<SkippedRecord> skipped;
  };
  struct Queue {
    std::deque<Row> ready;
    bool busy = false;
    std::exception_ptr failure;  // of the row behind those that are ready
    StreamPosition position;     // behind the last row taken
    int64_t text_bytes = 0;
  };

  void start();
  void stop();
  void work();
  Queue* neediest();
  void fill(Queue& queue, std::unique_lock<std::mutex>& lock);

  std::vector<Stream> streams_;
  std::vector<Queue> queues_;
  std::vector<SkippedRecord> skipped_;
  Readahead ahead_;
  mutable std::mutex mutex_;
  std::condition_variable wanted_, made_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lmnet
