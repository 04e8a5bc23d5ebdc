#include "launch/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "parallel/errors.h"
#include "trainer/threads.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

/// Until the config is read and says how long to wait.
constexpr std::chrono::seconds kSetUpTimeout{300};
/// Between telling the others and ending this process, upon which mpirun kills them: they have their own files to
/// close.
constexpr std::chrono::milliseconds kPartingTime{300};

void print_error(const std::string& text) {
  fmt::print(stderr, "lmnet: {}\n", text);
}

/// Of two threads that end the process because of one failure, one says why.
class LastWord {
 public:
  /// Of what this rank has found: the main thread may take long to unwind, and others may end this process before.
  void tell(const CommunicationError& error) {
    if (!said_.test_and_set()) print_error(error.what());
  }

  /// For the communication thread, where the main one is stuck. It takes no lock that another thread may hold.
  void end_process(const CommunicationError& error) {
    const auto* elsewhere = dynamic_cast<const RankFailed*>(&error);
    if (elsewhere == nullptr && !said_.test_and_set()) print_error(error.what());
    std::_Exit(elsewhere != nullptr ? elsewhere->code() : exit_code(error));
  }

  /// For the main thread: an error that not all ranks have, and perhaps no other.
  [[noreturn]] void end_job(const MpiRuntime& runtime, Communicator& world, const std::exception& error) {
    if (const auto* elsewhere = dynamic_cast<const RankFailed*>(&error)) end(elsewhere->code());
    fail_alone(world, runtime.hosts()[runtime.rank()], error);
    std::this_thread::sleep_for(kPartingTime);
    end(exit_code(error));
  }

 private:
  /// Without the end of MPI, to which the other ranks may never come.
  [[noreturn]] static void end(int code) {
    std::fflush(nullptr);
    std::_Exit(code);
  }

  std::atomic_flag said_;
};

}  // namespace

int tell(const std::exception& error) {
  print_error(sentence(error));
  return exit_code(error);
}

int on_ranks(int argc, char** argv, const std::function<int(const MpiRuntime&, Communicator&)>& body) {
  LastWord last_word;
  try {
    MpiRuntime runtime(
        argc, argv, [&](const CommunicationError& error) { last_word.end_process(error); }, kSetUpTimeout,
        [&](const CommunicationError& error) { last_word.tell(error); });
    const std::unique_ptr<Communicator> world = runtime.world(kSetUpTimeout);
    try {
      const auto& hosts = runtime.hosts();
      share_cores(*world, hosts);
      return body(runtime, *world);
    } catch (const AgreedError& error) {
      if (runtime.rank() == 0) tell(error);
      return error.code();
    } catch (const std::exception& error) {
      if (runtime.size() == 1) return tell(error);
      last_word.end_job(runtime, *world, error);
    }
  } catch (const RankFailed& error) {
    return error.code();
  } catch (const std::exception& error) {
    return tell(error);
  }
}

}  // namespace lmnet
