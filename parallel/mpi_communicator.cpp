#include "parallel/mpi_communicator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

#include "parallel/errors.h"

namespace lmnet {
namespace {

/// What a pair of ranks exchanges at a time: MPI counts are int, and every round that ends shows that the others are
/// alive.
constexpr size_t round_bytes = size_t{8} << 20;
constexpr int tag = 0;

/// The part of `bytes` that is moved in the round that begins at `offset`.
template <class Byte>
std::span<Byte> part_of_round(std::span<Byte> bytes, size_t offset) {
  return offset < bytes.size() ? bytes.subspan(offset, std::min(round_bytes, bytes.size() - offset))
                               : std::span<Byte>();
}

using Clock = std::chrono::steady_clock;

/// Between two looks at messages of which none has moved on for `idle`: as long as it may be a matter of moments the
/// processor is only offered to others, later it is left to them for 100 µs at a time.
void back_off(Clock::duration idle) {
  if (idle > std::chrono::milliseconds(10)) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  } else if (idle > std::chrono::microseconds(20)) {
    std::this_thread::yield();
  }
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

struct MpiCommunicator::Message {
  enum class Kind { send, receive, collective };
  Kind kind;
  int peer;
  int bytes;
};

/// Messages on their way, each with its request.
struct MpiCommunicator::Pending {
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  /// After an error the caller's memory must not be written any more. MPI cannot cancel a collective.
  ~Pending() {
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i] == MPI_REQUEST_NULL || messages[i].kind == Message::Kind::collective) {
        continue;
      }
      if (messages[i].kind == Message::Kind::receive) {
        MPI_Cancel(&requests[i]);
      }
      MPI_Request_free(&requests[i]);
    }
  }

  MPI_Request* add(Message message) {
    messages.push_back(message);
    requests.push_back(MPI_REQUEST_NULL);
    return &requests.back();
  }

  std::vector<Message> messages;
  std::vector<MPI_Request> requests;
};

MpiCommunicator::MpiCommunicator(MPI_Comm group, std::vector<std::string> names, std::chrono::seconds timeout)
    : names_(std::move(names)), timeout_(timeout) {
  check_mpi(MPI_Comm_rank(group, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_dup(group, &group_), "MPI_Comm_dup");
}

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0) {
    MPI_Comm_free(&group_);
  }
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color) {
  // This round also makes sure, within the time-out, that all ranks have come: MPI_Comm_split knows none.
  const std::vector<int> colors = gather("split", color);
  std::vector<std::string> names;
  for (int r = 0; r < size(); ++r) {
    if (colors[r] == color) {
      names.push_back(names_[r]);
    }
  }
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(group_, color, rank_, &part), "MPI_Comm_split");
  auto result = std::make_unique<MpiCommunicator>(part, std::move(names), timeout_);
  MPI_Comm_free(&part);
  return result;
}

void MpiCommunicator::abort(int code) noexcept {
  MPI_Abort(group_, code);
}

void MpiCommunicator::exchange(std::string_view collective, std::span<const Outgoing> send,
                               std::span<const Incoming> receive) {
  if (send[rank_].size() != receive[rank_].size()) {
    throw CommunicationError(fmt::format("{}: {}: it sends {} bytes to itself, but expects {}.", names_[rank_],
                                         collective, send[rank_].size(), receive[rank_].size()));
  }
  if (!send[rank_].empty() && send[rank_].data() != receive[rank_].data()) {
    std::memcpy(receive[rank_].data(), send[rank_].data(), send[rank_].size());
  }
  size_t longest = 0;
  for (int peer = 0; peer < size(); ++peer) {
    longest = peer == rank_ ? longest : std::max({longest, send[peer].size(), receive[peer].size()});
  }
  for (size_t offset = 0; offset < longest; offset += round_bytes) {
    exchange_round(collective, send, receive, offset);
  }
}

void MpiCommunicator::exchange_round(std::string_view collective, std::span<const Outgoing> send,
                                     std::span<const Incoming> receive, size_t offset) {
  Pending pending;
  for (int distance = 1; distance < size(); ++distance) {
    const int peer = (rank_ + size() - distance) % size();
    if (const Incoming part = part_of_round(receive[peer], offset); !part.empty()) {
      const int bytes = static_cast<int>(part.size());
      MPI_Request* request = pending.add({Message::Kind::receive, peer, bytes});
      check_mpi(MPI_Irecv(part.data(), bytes, MPI_BYTE, peer, tag, group_, request), "MPI_Irecv");
    }
  }
  for (int distance = 1; distance < size(); ++distance) {
    const int peer = (rank_ + distance) % size();
    if (const Outgoing part = part_of_round(send[peer], offset); !part.empty()) {
      const int bytes = static_cast<int>(part.size());
      MPI_Request* request = pending.add({Message::Kind::send, peer, bytes});
      check_mpi(MPI_Isend(part.data(), bytes, MPI_BYTE, peer, tag, group_, request), "MPI_Isend");
    }
  }
  wait(collective, pending);
}

void MpiCommunicator::broadcast_bytes(Incoming bytes, int root) {
  for (size_t offset = 0; offset < bytes.size(); offset += round_bytes) {
    const Incoming part = part_of_round(bytes, offset);
    Pending pending;
    MPI_Request* request = pending.add({Message::Kind::collective, root, static_cast<int>(part.size())});
    check_mpi(MPI_Ibcast(part.data(), static_cast<int>(part.size()), MPI_BYTE, root, group_, request), "MPI_Ibcast");
    wait("broadcast", pending);
  }
}

void MpiCommunicator::wait(std::string_view collective, Pending& pending) const {
  const int count = static_cast<int>(pending.requests.size());
  std::vector<int> finished(count);
  std::vector<MPI_Status> statuses(count);
  Clock::time_point progress = Clock::now();
  for (int left = count; left > 0;) {
    int moved = 0;
    const int code = MPI_Testsome(count, pending.requests.data(), &moved, finished.data(), statuses.data());
    for (int i = 0; i < moved; ++i) {
      check_length(collective, pending.messages[finished[i]], statuses[i]);
    }
    check_mpi(code, collective);
    const Clock::time_point now = Clock::now();
    if (moved > 0) {
      left -= moved;
      progress = now;
    } else if (now - progress > timeout_) {
      give_up(collective, pending);
    } else {
      back_off(now - progress);
    }
  }
}

void MpiCommunicator::check_length(std::string_view collective, const Message& message,
                                   const MPI_Status& status) const {
  if (message.kind != Message::Kind::receive) {
    return;
  }
  int received = 0;
  MPI_Get_count(&status, MPI_BYTE, &received);
  if (received != message.bytes) {
    throw CommunicationError(fmt::format("{}: {}: {} sends {} bytes where {} are expected.", names_[rank_], collective,
                                         names_[message.peer], received, message.bytes));
  }
}

void MpiCommunicator::give_up(std::string_view collective, const Pending& pending) const {
  std::set<int> missing;
  for (size_t i = 0; i < pending.requests.size(); ++i) {
    if (pending.requests[i] != MPI_REQUEST_NULL) {
      missing.insert(pending.messages[i].peer);
    }
  }
  std::vector<std::string> silent;
  for (const int peer : missing) {
    silent.push_back(peer == rank_ ? "ranks of its group" : names_[peer]);
  }
  throw CommunicationError(fmt::format(
      "{}: {}: no answer for {} s from {}; look at what they report, or give parallel.timeout more if they are slow.",
      names_[rank_], collective, timeout_.count(), fmt::join(silent, ", ")));
}

}  // namespace lmnet
