#include "trainer/saving/background_work.h"

#include <exception>
#include <utility>

#include "trainer/together.h"

namespace lmnet {

void BackgroundWork::start(std::function<void(const std::stop_token&)> work) {
  failure();
  failure_.clear();
  over_ = false;
  thread_ = std::jthread([this, work = std::move(work)](const std::stop_token& asked) {
    try {
      work(asked);
    } catch (const std::exception& error) {
      failure_ = sentence(error);
    }
    over_ = true;
  });
}

void BackgroundWork::stop() {
  thread_.request_stop();
  failure();
}

const std::string& BackgroundWork::failure() {
  if (thread_.joinable()) thread_.join();
  return failure_;
}

}  // namespace lmnet
