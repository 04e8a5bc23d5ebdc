#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// MPI from its start to its end. One for each process, made before there are threads (it sets environment variables)
/// and outliving all communicators. All MPI calls of a process come from one thread at a time.
///
/// When it is destroyed by an exception, MPI is not finalised, since the other ranks may never come to that: leave with
/// abort(), or end the process with a code other than 0, which makes mpirun end the others.
class MpiRuntime {
 public:
  /// Throws CommunicationError when Slurm started several tasks that do not see each other.
  MpiRuntime(int& argc, char**& argv);

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(hosts_.size()); }
  /// The host of each rank.
  const std::vector<std::string>& hosts() const { return hosts_; }

  /// A communicator over all ranks whose waits, and those of the groups split from it, end with CommunicationError
  /// after `timeout`. Collective.
  std::unique_ptr<Communicator> world(std::chrono::seconds timeout) const;

  /// Ends all ranks.
  [[noreturn]] void abort(int code) const noexcept;

 private:
  class Session {
   public:
    Session(int& argc, char**& argv);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    int exceptions_;
  };

  Session session_;
  int rank_ = 0;
  std::vector<std::string> hosts_;
};

}  // namespace lmnet
