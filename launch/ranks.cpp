#include "launch/ranks.h"

#include <fmt/format.h>

#include <algorithm>

#include "trainer/threads.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

/// Until the config is read and says how long to wait.
constexpr std::chrono::seconds kSetUpTimeout{300};

void print_error(const std::string& text) {
  fmt::print(stderr, "lmnet: {}\n", text);
}

}  // namespace

int tell(const std::exception& error) {
  print_error(sentence(error));
  return exit_code(error);
}

int on_ranks(int argc, char** argv, const std::function<int(const MpiRuntime&, Communicator&)>& body) {
  try {
    MpiRuntime runtime(argc, argv);
    try {
      const auto& hosts = runtime.hosts();
      share_cores(static_cast<int>(std::count(hosts.begin(), hosts.end(), hosts[runtime.rank()])));
      std::unique_ptr<Communicator> world = runtime.world(kSetUpTimeout);
      return body(runtime, *world);
    } catch (const AgreedError& error) {
      if (runtime.rank() == 0) tell(error);
      return error.code();
    } catch (const std::exception& error) {
      if (runtime.size() == 1) return tell(error);
      print_error(fmt::format("rank {} on {}: {}", runtime.rank(), runtime.hosts()[runtime.rank()], sentence(error)));
      runtime.abort(exit_code(error));
    }
  } catch (const std::exception& error) {
    return tell(error);
  }
}

}  // namespace lmnet
