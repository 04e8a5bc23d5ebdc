#include "trainer/log.h"

#include <glog/logging.h>

namespace lmnet {

Log::Log(const std::filesystem::path& file) {
  FLAGS_timestamp_in_logfile_name = false;
  FLAGS_stderrthreshold = google::FATAL;  // what people read is printed by rank 0, not by the log
  FLAGS_logbufsecs = 0;
  google::InitGoogleLogging("lmnet");
  google::SetLogDestination(google::GLOG_INFO, file.c_str());
  for (auto severity : {google::GLOG_WARNING, google::GLOG_ERROR, google::GLOG_FATAL})
    google::SetLogDestination(severity, "");
  google::SetLogSymlink(google::GLOG_INFO, "");
}

Log::~Log() {
  google::ShutdownGoogleLogging();
}

void Log::info(std::string_view text) const {
  LOG(INFO) << text;
}
void Log::error(std::string_view text) const {
  LOG(ERROR) << text;
}

}  // namespace lmnet
