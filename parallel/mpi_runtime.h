#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/errors.h"

namespace lmnet {

class CommunicationThread;

/// MPI from its start to its end, and the communication thread that makes all its calls in between. One for each
/// process, made before there are threads (it sets environment variables) and outliving all communicators.
///
/// When it is destroyed by an exception, MPI is not finalised, since the other ranks may never come to that: end the
/// process with a code other than 0, which makes mpirun end the others.
class MpiRuntime {
 public:
  /// `end_process` is called, from another thread, when the start or the end of MPI takes longer than `timeout`, or
  /// when a few seconds after a failure of communication the process is still there; it does not return. Unless given,
  /// it prints the error. Throws CommunicationError when the launcher started several ranks that do not see each other.
  /// `tell_failure`: see CommunicationThread::tell_failures_with().
  MpiRuntime(int& argc, char**& argv, EndProcess end_process = {},
             std::chrono::milliseconds timeout = std::chrono::seconds(300), TellFailure tell_failure = {});

  int rank() const;
  int size() const { return static_cast<int>(hosts_.size()); }
  /// The host of each rank.
  const std::vector<std::string>& hosts() const { return hosts_; }

  /// A communicator over all ranks, on the first queue. Enters the phase `start-up` with `timeout`.
  std::unique_ptr<Communicator> world(std::chrono::milliseconds timeout) const;

  /// Ends this process, and with it the others.
  [[noreturn]] void abort(int code) const noexcept;

 private:
  class Session {
   public:
    Session(int& argc, char**& argv, EndProcess end_process, std::chrono::milliseconds timeout);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    const EndProcess end_process;
    const std::chrono::milliseconds timeout;

   private:
    int exceptions_;
  };

  Session session_;
  std::shared_ptr<CommunicationThread> thread_;
  std::vector<std::string> hosts_;
};

}  // namespace lmnet
