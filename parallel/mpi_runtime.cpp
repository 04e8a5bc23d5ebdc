#include "parallel/mpi_runtime.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <numeric>
#include <string_view>
#include <thread>

#include "parallel/communication_thread.h"
#include "parallel/host_communicator.h"
#include "parallel/launch_environment.h"
#include "parallel/mpi_transport.h"

namespace lmnet {
namespace {

constexpr int world_queue = 1;
constexpr size_t host_bytes = 256;

/// Must come before MPI_Init. What the user has set stays.
void set_defaults() {
  const auto set = [](const char* name, const char* value) { setenv(name, value, 0); };
  // A rank that waits leaves its processor to those that compute.
  set("OMPI_MCA_mpi_yield_when_idle", "1");
  const bool launched = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMIX_RANK") != nullptr;
  if (!launched) {
    // Alone: no helper processes (they would want ssh) and no search for a fast network.
    set("OMPI_MCA_ess_singleton_isolated", "1");
    set("OMPI_MCA_plm", "isolated");
    set("OMPI_MCA_pml", "ob1");
    set("OMPI_MCA_btl", "self,vader,tcp");
  }
}

std::string own_host() {
  char host[host_bytes] = {};
  gethostname(host, sizeof(host) - 1);
  return host;
}

/// How this process calls itself before MPI runs and after it has ended.
std::string own_name() {
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    if (const char* rank = std::getenv(variable)) {
      return fmt::format("rank {} ({})", rank, own_host());
    }
  }
  return fmt::format("a rank on {}", own_host());
}

void print_and_end(const CommunicationError& error) {
  const auto* elsewhere = dynamic_cast<const RankFailed*>(&error);
  if (elsewhere == nullptr) {
    fmt::print(stderr, "{}\n", error.what());
  }
  std::_Exit(elsewhere != nullptr ? elsewhere->code() : 4);
}

/// Ends the process when a call of MPI that knows no time-out takes too long.
class Deadline {
 public:
  Deadline(std::string_view call, std::chrono::milliseconds timeout, const EndProcess& end_process)
      : thread_([this, call, timeout, &end_process] {
          std::unique_lock lock(mutex_);
          if (!bell_.wait_for(lock, timeout, [this] { return met_; })) {
            end_process(CommunicationError(
                fmt::format("{}: {} has not ended for {:g} s: look at what other ranks report and whether their hosts "
                            "reach each other.",
                            own_name(), call, std::chrono::duration<double>(timeout).count())));
          }
        }) {}
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      met_ = true;
    }
    bell_.notify_one();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable bell_;
  bool met_ = false;
  std::jthread thread_;
};

std::unique_ptr<Transport> make_transport(const EndProcess& end_process, std::chrono::milliseconds timeout) {
  const Deadline deadline("MPI_Comm_dup", timeout, end_process);
  MPI_Comm group = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &group), "MPI_Comm_dup");
  return std::make_unique<MpiTransport>(group);
}

/// The host of each rank. Collective.
std::vector<std::string> gather_hosts(Communicator& world) {
  const std::string mine = own_host();
  at::Tensor all = at::zeros({static_cast<int64_t>(world.size() * host_bytes / sizeof(int64_t))}, at::kLong);
  char* const text = static_cast<char*>(all.data_ptr());
  std::memcpy(text + world.rank() * host_bytes, mine.data(), mine.size());
  world.all_gather(all);
  std::vector<std::string> hosts;
  for (int r = 0; r < world.size(); ++r) {
    hosts.emplace_back(text + r * host_bytes);
  }
  return hosts;
}

}  // namespace

MpiRuntime::Session::Session(int& argc, char**& argv, EndProcess end, std::chrono::milliseconds start_timeout)
    : end_process(end ? std::move(end) : print_and_end),
      timeout(start_timeout),
      exceptions_(std::uncaught_exceptions()) {
  set_defaults();
  const Deadline deadline("MPI_Init", timeout, end_process);
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED) {
    throw CommunicationError("This MPI was built without threads: use one that offers MPI_THREAD_SERIALIZED.");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

MpiRuntime::Session::~Session() {
  if (std::uncaught_exceptions() == exceptions_) {
    const Deadline deadline("MPI_Finalize", timeout, end_process);
    MPI_Finalize();
  }
}

MpiRuntime::MpiRuntime(int& argc, char**& argv, EndProcess end_process, std::chrono::milliseconds timeout,
                       TellFailure tell_failure)
    : session_(argc, argv, std::move(end_process), timeout),
      thread_(std::make_shared<CommunicationThread>(make_transport(session_.end_process, timeout),
                                                    std::make_shared<Bell>())) {
  thread_->end_process_with(session_.end_process);
  thread_->tell_failures_with(std::move(tell_failure));
  require_whole_world(read_launch_environment(&std::getenv), thread_->size());
  hosts_ = gather_hosts(*world(timeout));
  std::vector<std::string> names;
  for (int r = 0; r < size(); ++r) {
    names.push_back(fmt::format("rank {} ({})", r, hosts_[r]));
  }
  thread_->set_names(std::move(names));
}

int MpiRuntime::rank() const {
  return thread_->rank();
}

std::unique_ptr<Communicator> MpiRuntime::world(std::chrono::milliseconds timeout) const {
  thread_->enter("start-up", timeout);
  std::vector<int> all(thread_->size());
  std::iota(all.begin(), all.end(), 0);
  return std::make_unique<HostCommunicator>(thread_, std::move(all), world_queue);
}

void MpiRuntime::abort(int code) const noexcept {
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace lmnet
