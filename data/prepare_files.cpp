#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "data/document.h"
#include "data/prepare.h"
#include "data/shard_series.h"

namespace lmnet {
namespace {

using Clock = std::chrono::steady_clock;

/// The files of a rank on their way into shards. All threads do the same: read a batch of a file that nobody reads at
/// the moment, tokenise it, give it back. At most as many files as threads are open.
class Workshop {
 public:
  Workshop(const Preparation& preparation, std::span<const int64_t> files, int threads,
           const std::function<void(const PreparationProgress&)>& tell)
      : preparation_(preparation), files_(files), threads_(threads), tell_(tell) {
    for (const int64_t file : files_) all_bytes_ += preparation_.index.inputs[file].bytes;
  }

  void run() {
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads_; ++i) helpers.emplace_back([this] { work(); });
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failure_) std::rethrow_exception(failure_);
    tell_(progress());
  }

 private:
  struct Open {
    std::unique_ptr<ShardSeries> series;
    bool reading = false, read = false;
    int64_t out = 0;  // batches that are being tokenised
    int64_t text_bytes = 0;
  };

  void work() {
    std::unique_lock lock(mutex_);
    try {
      while (Open* file = next_file(lock)) make_batch(*file, lock);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      if (!failure_) failure_ = std::current_exception();
    }
    changed_.notify_all();
  }

  /// Waits for a file that can be read; null when there is nothing more to do.
  Open* next_file(std::unique_lock<std::mutex>& lock) {
    while (!failure_) {
      // Those that fall behind in writing wait, so that memory is bounded.
      const auto ready = std::ranges::find_if(
          open_, [&](const auto& file) { return !file->reading && !file->read && file->out < 2 * threads_; });
      if (ready != open_.end()) {
        (*ready)->reading = true;
        return ready->get();
      }
      if (next_ < files_.size() && std::ssize(open_) < threads_) {
        auto opened = std::make_unique<Open>();
        opened->series = std::make_unique<ShardSeries>(preparation_, files_[next_++]);
        if (opened->series->done()) {
          done_bytes_ += preparation_.index.inputs[opened->series->file()].bytes;
          ++done_files_;
        } else {
          open_.push_back(std::move(opened));
        }
        continue;
      }
      if (open_.empty()) return nullptr;
      changed_.wait(lock);
    }
    return nullptr;
  }

  void make_batch(Open& file, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    auto batch = file.series->take();
    lock.lock();
    file.reading = false;
    file.read = !batch;
    if (batch) ++file.out;
    changed_.notify_all();
    if (batch) {
      lock.unlock();
      int64_t bytes = 0, tokens = 0;
      for (const Record& record : batch->records) {
        batch->text_bytes.push_back(static_cast<int64_t>(record.bytes()));
        batch->documents.push_back(make_document(*preparation_.tokenizer, record));
        bytes += batch->text_bytes.back();
        tokens += std::ssize(batch->documents.back().tokens);
      }
      file.series->give(std::move(*batch));
      lock.lock();
      --file.out;
      file.text_bytes += bytes;
      text_bytes_ += bytes;
      tokens_ += tokens;
    }
    if (file.read && file.out == 0) close(file, lock);
    changed_.notify_all();
    if (Clock::now() - told_ > std::chrono::seconds(1)) {
      told_ = Clock::now();
      tell_(progress());
    }
  }

  void close(Open& file, std::unique_lock<std::mutex>& lock) {
    const auto place = std::ranges::find(open_, &file, &std::unique_ptr<Open>::get);
    if (place == open_.end()) return;
    const std::unique_ptr<Open> closed = std::move(*place);
    open_.erase(place);
    lock.unlock();
    closed->series->finish();
    lock.lock();
    const int64_t bytes = preparation_.index.inputs[closed->series->file()].bytes;
    done_bytes_ += bytes;
    fresh_bytes_ += bytes;
    fresh_text_ += closed->text_bytes;
    ++done_files_;
  }

  /// Of files that are not done yet it counts their text, by how much the others had for each byte on the disk.
  PreparationProgress progress() const {
    const double text_per_byte =
        fresh_bytes_ > 0 ? static_cast<double>(fresh_text_) / static_cast<double>(fresh_bytes_) : 3;
    auto bytes = static_cast<double>(done_bytes_);
    for (const auto& file : open_)
      bytes += std::min(static_cast<double>(file->text_bytes) / text_per_byte,
                        0.95 * static_cast<double>(preparation_.index.inputs[file->series->file()].bytes));
    return {done_files_, all_bytes_ > 0 ? bytes / static_cast<double>(all_bytes_) : 1, text_bytes_, tokens_};
  }

  const Preparation& preparation_;
  std::span<const int64_t> files_;
  int threads_;
  const std::function<void(const PreparationProgress&)>& tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Open>> open_;
  size_t next_ = 0;
  std::exception_ptr failure_;
  int64_t all_bytes_ = 0, done_bytes_ = 0, done_files_ = 0;
  int64_t fresh_bytes_ = 0, fresh_text_ = 0;  // of files prepared in this call
  int64_t text_bytes_ = 0, tokens_ = 0;
  Clock::time_point told_ = Clock::now();
};

}  // namespace

void prepare_files(const Preparation& preparation, std::span<const int64_t> files, int threads,
                   const std::function<void(const PreparationProgress&)>& tell) {
  Workshop(preparation, files, std::max(1, threads), tell).run();
}

}  // namespace lmnet
