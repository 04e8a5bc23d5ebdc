#pragma once
#include <chrono>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>

namespace lmnet {

/// Ranks cannot reach or understand each other. Names rank, phase, collective, peers and since when. The process ends
/// with code 4.
class CommunicationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Another rank said that it cannot go on. `what()` is its cause; it has told that itself.
class RankFailed : public CommunicationError {
 public:
  RankFailed(int rank, int code, const std::string& cause) : CommunicationError(cause), rank_(rank), code_(code) {}
  /// Which rank of the world failed, and the exit code it gave.
  int rank() const { return rank_; }
  int code() const { return code_; }

 private:
  int rank_, code_;
};

/// What is wrong, and the way out, where nothing has moved for so long: `silent` names the ranks that it depends on
/// (none: this rank's own device).
std::string no_answer(std::span<const std::string> silent, std::chrono::duration<double> waited);

/// Says why the job fails, where this rank has found it.
using TellFailure = std::function<void(const CommunicationError&)>;

/// Ends the process because of an error that the thread it was meant for has not taken up.
using EndProcess = std::function<void(const CommunicationError&)>;

}  // namespace lmnet
