#include "parallel/mpi_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "parallel/errors.h"

namespace lmnet {
namespace {

using namespace std::chrono_literals;

constexpr int notice_tag = 0;
/// Small enough for MPI to send it off without an answer from the receiver, who may be stopped.
constexpr size_t notice_bytes = 2048;

/// Rank and code, then the cause, cut off where it is too long.
std::vector<char> packed_notice(const Failure& failure) {
  const int head[2] = {failure.rank, failure.code};
  std::vector<char> bytes(sizeof(head) + std::min(failure.cause.size(), notice_bytes - sizeof(head)));
  std::memcpy(bytes.data(), head, sizeof(head));
  std::memcpy(bytes.data() + sizeof(head), failure.cause.data(), bytes.size() - sizeof(head));
  return bytes;
}

Failure failure_of(std::span<const char> bytes) {
  int head[2] = {};
  std::memcpy(head, bytes.data(), sizeof(head));
  const auto text = bytes.subspan(sizeof(head));
  return {.rank = head[0], .code = head[1], .cause = std::string(text.begin(), text.end())};
}

}  // namespace

void check_mpi(int code, std::string_view call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw CommunicationError(fmt::format("{}: {}.", call, text));
}

MpiTransport::MpiTransport(MPI_Comm group) : group_(group), notice_(notice_bytes) {
  check_mpi(MPI_Comm_rank(group, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(group, &size_), "MPI_Comm_size");
  if (size_ > 1) {
    listen();
  }
}

MpiTransport::~MpiTransport() {
  cancel_all();
  if (notice_request_ != MPI_REQUEST_NULL) {
    MPI_Cancel(&notice_request_);
    MPI_Request_free(&notice_request_);
  }
  MPI_Comm_free(&group_);
}

void MpiTransport::post(Packet& message) {
  MPI_Request request = MPI_REQUEST_NULL;
  const int bytes = static_cast<int>(message.part.size());
  if (message.receive) {
    check_mpi(MPI_Irecv(message.part.data(), bytes, MPI_BYTE, message.peer, message.tag, group_, &request),
              "MPI_Irecv");
  } else {
    check_mpi(MPI_Isend(message.part.data(), bytes, MPI_BYTE, message.peer, message.tag, group_, &request),
              "MPI_Isend");
  }
  requests_.push_back(request);
  messages_.push_back(&message);
}

void MpiTransport::collect(std::vector<Arrival>& arrivals) {
  if (requests_.empty()) {
    return;
  }
  const int count = static_cast<int>(requests_.size());
  finished_.resize(count);
  statuses_.resize(count);
  int moved = 0;
  const int code = MPI_Testsome(count, requests_.data(), &moved, finished_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    check_mpi(code, "MPI_Testsome");
  }
  for (int i = 0; i < moved; ++i) {
    Packet& message = *messages_[finished_[i]];
    const int error = code == MPI_SUCCESS ? MPI_SUCCESS : statuses_[i].MPI_ERROR;
    int received = static_cast<int>(message.part.size());
    if (message.receive) {
      MPI_Get_count(&statuses_[i], MPI_BYTE, &received);
      if (error == MPI_ERR_TRUNCATE) {
        received = std::max(received, static_cast<int>(message.part.size()) + 1);
      }
    }
    if (error != MPI_ERR_TRUNCATE) {
      check_mpi(error, message.receive ? "MPI_Irecv" : "MPI_Isend");
    }
    arrivals.push_back({&message, static_cast<size_t>(received)});
    messages_[finished_[i]] = nullptr;
  }
  if (moved > 0) {
    std::erase(messages_, nullptr);
    std::erase(requests_, MPI_REQUEST_NULL);
  }
}

void MpiTransport::cancel_all() noexcept {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) {
      continue;
    }
    if (messages_[i]->receive) {
      MPI_Cancel(&requests_[i]);
    }
    MPI_Request_free(&requests_[i]);
  }
  requests_.clear();
  messages_.clear();
}

void MpiTransport::tell(const Failure& failure, SteadyClock::duration patience) {
  told_ = packed_notice(failure);
  std::vector<MPI_Request> sends;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer != rank_) {
      sends.push_back(MPI_REQUEST_NULL);
      MPI_Isend(told_.data(), static_cast<int>(told_.size()), MPI_BYTE, peer, notice_tag, group_, &sends.back());
    }
  }
  const SteadyClock::time_point deadline = SteadyClock::now() + patience;
  for (int all = 0; all == 0 && SteadyClock::now() < deadline;) {
    MPI_Testall(static_cast<int>(sends.size()), sends.data(), &all, MPI_STATUSES_IGNORE);
    std::this_thread::yield();
  }
  for (MPI_Request& request : sends) {
    if (request != MPI_REQUEST_NULL) {
      MPI_Request_free(&request);
    }
  }
}

void MpiTransport::listen() {
  check_mpi(MPI_Irecv(notice_.data(), static_cast<int>(notice_bytes), MPI_BYTE, MPI_ANY_SOURCE, notice_tag, group_,
                      &notice_request_),
            "MPI_Irecv");
}

std::optional<Failure> MpiTransport::hear() {
  if (notice_request_ == MPI_REQUEST_NULL) {
    return std::nullopt;
  }
  int arrived = 0;
  MPI_Status status;
  check_mpi(MPI_Test(&notice_request_, &arrived, &status), "MPI_Test");
  if (arrived == 0) {
    return std::nullopt;
  }
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  Failure failure = failure_of(std::span(notice_).first(bytes));
  listen();
  return failure;
}

void MpiTransport::rest(Bell& bell, SteadyClock::duration idle) {
  // While somebody waits for the result, the processor is only offered to others; else it is left to those that
  // compute.
  const bool hurry = bell.waiters.load(std::memory_order_relaxed) > 0;
  if (idle > (hurry ? SteadyClock::duration(10ms) : SteadyClock::duration(200us))) {
    bell.wait_for(hurry ? 100us : 400us);
  } else if (idle > 20us) {
    std::this_thread::yield();
  }
}

}  // namespace lmnet
