#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace lmnet {

/// The process's exit code for an error: 2 wrong config, 3 bad data, checkpoint or disk, 4 communication, 1 anything
/// else.
int exit_code(const std::exception& error);

/// What people read of an error.
std::string sentence(const std::exception& error);

/// An error that every rank has: rank 0 tells it, all end in order. `what()` is the first failing rank's sentence.
class AgreedError : public std::runtime_error {
 public:
  AgreedError(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

/// Texts of all ranks, by rank. Collective.
std::vector<std::string> gather_texts(Communicator& group, const std::string& text);

/// The same of JSON values, whose texts need not be UTF-8.
std::vector<nlohmann::ordered_json> gather_json(Communicator& group, const nlohmann::ordered_json& json);

/// Runs `work` on every rank; if it fails on one, all throw AgreedError. `work` must not communicate unless all ranks
/// fail alike.
void together(Communicator& world, const std::function<void()>& work);

/// Where one rank fails alone: tells people and the other ranks, before it has closed anything, which may take long.
/// `host` is this rank's. Nothing of an error that the others have too. Local.
void fail_alone(Communicator& world, const std::string& host, const std::exception& error);

}  // namespace lmnet
