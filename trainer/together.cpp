#include "trainer/together.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <system_error>

#include "data/errors.h"
#include "model/errors.h"
#include "model/graph/errors.h"
#include "parallel/errors.h"
#include "trainer/checkpoint/errors.h"

namespace lmnet {

int exit_code(const std::exception& error) {
  if (auto* agreed = dynamic_cast<const AgreedError*>(&error)) return agreed->code();
  if (auto* told = dynamic_cast<const RankFailed*>(&error)) return told->code();
  if (dynamic_cast<const ConfigError*>(&error)) return 2;
  if (dynamic_cast<const DataError*>(&error) || dynamic_cast<const CheckpointError*>(&error) ||
      dynamic_cast<const WeightsError*>(&error) || dynamic_cast<const std::system_error*>(&error))
    return 3;
  if (dynamic_cast<const CommunicationError*>(&error)) return 4;
  return 1;
}

std::string sentence(const std::exception& error) {
  const auto* of_file = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (of_file == nullptr) return error.what();
  return fmt::format("{}: {}", of_file->path1().string(), of_file->code().message());
}

std::vector<std::string> gather_texts(Communicator& group, const std::string& text) {
  at::Tensor lengths = at::zeros({group.size()}, at::kLong);
  lengths[group.rank()] = static_cast<int64_t>(text.size());
  group.all_reduce(lengths);
  // Communicators carry numbers, not bytes: eight characters to a word, padded.
  auto words = [](int64_t bytes) { return (bytes + 7) / 8; };
  std::vector<int64_t> send_counts(group.size(), words(static_cast<int64_t>(text.size()))), receive_counts;
  for (int r = 0; r < group.size(); ++r) receive_counts.push_back(words(lengths[r].item<int64_t>()));
  at::Tensor mine = at::zeros({send_counts[0]}, at::kLong);
  if (!text.empty()) std::memcpy(mine.data_ptr(), text.data(), text.size());
  at::Tensor send = mine.repeat({group.size()});
  int64_t total = 0;
  for (int64_t count : receive_counts) total += count;
  at::Tensor receive = at::empty({total}, at::kLong);
  group.all_to_all(send, send_counts, receive, receive_counts);
  std::vector<std::string> texts;
  const char* at = static_cast<const char*>(receive.const_data_ptr());
  for (int r = 0; r < group.size(); ++r) {
    texts.emplace_back(at, lengths[r].item<int64_t>());
    at += 8 * receive_counts[r];
  }
  return texts;
}

std::vector<nlohmann::ordered_json> gather_json(Communicator& group, const nlohmann::ordered_json& json) {
  const std::vector<uint8_t> packed = nlohmann::ordered_json::to_msgpack(json);
  std::vector<nlohmann::ordered_json> by_rank;
  for (const std::string& text : gather_texts(group, {packed.begin(), packed.end()}))
    by_rank.push_back(nlohmann::ordered_json::from_msgpack(text));
  return by_rank;
}

void together(Communicator& world, const std::function<void()>& work) {
  std::string failure;
  int code = 0;
  try {
    work();
  } catch (const CommunicationError&) {
    throw;  // there is nobody to agree with
  } catch (const std::exception& error) {
    failure = sentence(error);
    code = exit_code(error);
  }
  at::Tensor failed = at::full({1}, code == 0 ? world.size() : world.rank(), at::kLong);
  world.all_reduce(failed, Reduction::min);
  int64_t first = failed.item<int64_t>();
  if (first == world.size()) return;
  at::Tensor codes = at::full({1}, world.rank() == first ? code : 0, at::kLong);
  world.all_reduce(codes);
  throw AgreedError(static_cast<int>(codes.item<int64_t>()), gather_texts(world, failure)[first]);
}

void fail_alone(Communicator& world, const std::string& host, const std::exception& error) {
  if (world.size() == 1 || dynamic_cast<const AgreedError*>(&error) || dynamic_cast<const RankFailed*>(&error)) return;
  const bool names_itself =
      dynamic_cast<const CommunicationError*>(&error) != nullptr && sentence(error).starts_with("rank ");
  world.fail(names_itself ? sentence(error) : fmt::format("rank {} on {}: {}", world.rank(), host, sentence(error)),
             exit_code(error));
}

}  // namespace lmnet
