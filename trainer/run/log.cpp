#include "trainer/run/log.h"

#include <fmt/format.h>
#include <glog/logging.h>

namespace lmnet {
namespace {

namespace fs = std::filesystem;

/// `rank-000.2.log`
fs::path older(const fs::path& file, int number) {
  return file.parent_path() / fmt::format("{}.{}{}", file.stem().string(), number, file.extension().string());
}

}  // namespace

Log::Log(fs::path file, uint64_t largest, int kept) : file_(std::move(file)), largest_(largest), kept_(kept) {
  std::error_code none;
  const uintmax_t size = fs::file_size(file_, none);
  size_ = none ? 0 : size;
  FLAGS_timestamp_in_logfile_name = false;
  FLAGS_stderrthreshold = google::FATAL;  // what people read is printed by rank 0, not by the log
  FLAGS_logbufsecs = 0;
  google::InitGoogleLogging("lmnet");
  google::SetLogDestination(google::GLOG_INFO, file_.c_str());
  for (auto severity : {google::GLOG_WARNING, google::GLOG_ERROR, google::GLOG_FATAL})
    google::SetLogDestination(severity, "");
  google::SetLogSymlink(google::GLOG_INFO, "");
}

Log::~Log() {
  google::ShutdownGoogleLogging();
}

// glog itself can only begin files with the time in their names, and keeps them by age.
void Log::rotate(size_t bytes) {
  constexpr size_t kHead = 64;  // what glog puts before a line
  size_ += bytes + kHead;
  if (size_ <= largest_) return;
  std::error_code ignored;  // a log that cannot be moved goes on growing
  for (int number = kept_; number > 1; --number) fs::rename(older(file_, number - 1), older(file_, number), ignored);
  fs::rename(file_, older(file_, 1), ignored);
  google::SetLogDestination(google::GLOG_INFO, "");  // only another name makes glog close the file
  google::SetLogDestination(google::GLOG_INFO, file_.c_str());
  size_ = bytes + kHead;
}

void Log::info(std::string_view text) {
  rotate(text.size());
  LOG(INFO) << text;
}

void Log::error(std::string_view text) {
  rotate(text.size());
  LOG(ERROR) << text;
}

}  // namespace lmnet
