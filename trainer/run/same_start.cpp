#include "trainer/run/same_start.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "model/graph/errors.h"
#include "trainer/build_id.h"
#include "trainer/describe.h"
#include "trainer/run/check.h"
#include "trainer/run/lease.h"
#include "trainer/sources.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

/// 63 bits of the facts.
int64_t fingerprint(const std::vector<Fact>& facts) {
  uint64_t hash = 0xcbf29ce484222325ull;
  const auto add = [&](std::string_view text) {
    for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
    hash = (hash ^ 0x100) * 0x100000001b3ull;
  };
  for (const auto& [name, value] : facts) {
    add(name);
    add(value);
  }
  return static_cast<int64_t>(hash >> 1);
}

std::string value_of(const Json& facts, const std::string& name) {
  for (const Json& fact : facts)
    if (fact[0] == name) return fact[1];
  return "nothing";
}

/// The first name whose value is not the same everywhere.
std::string first_difference(const std::vector<Json>& by_rank) {
  for (const Json& facts : by_rank) {
    for (const Json& fact : facts) {
      const std::string name = fact[0];
      const auto differs = [&](const Json& other) { return !other.empty() && value_of(other, name) != fact[1]; };
      if (std::ranges::any_of(by_rank, differs)) return name;
    }
  }
  return "";
}

/// `rank 0 on h1 has train.clip 1, rank 3 on h4 has 0.5`
std::string tell_difference(const std::vector<Json>& by_rank, std::span<const std::string> hosts) {
  const std::string name = first_difference(by_rank);
  std::vector<std::pair<std::string, std::vector<size_t>>> values;  // and the ranks that have them
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    if (by_rank[rank].empty()) continue;
    const std::string value = value_of(by_rank[rank], name);
    auto found = std::ranges::find(values, value, &decltype(values)::value_type::first);
    if (found == values.end()) found = values.insert(found, {value, {}});
    found->second.push_back(rank);
  }
  std::vector<std::string> parts;
  for (const auto& [value, ranks] : values) {
    const std::string others = ranks.size() == 1 ? "" : fmt::format(" (and {} more)", ranks.size() - 1);
    parts.push_back(fmt::format("rank {} on {}{} has {}{}", ranks[0], hosts[ranks[0]], others,
                                parts.empty() ? name + " " : "", value));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

void require_same(Communicator& world, std::span<const std::string> hosts, const std::vector<Fact>& facts,
                  const std::string& cure) {
  constexpr int64_t none = std::numeric_limits<int64_t>::max();
  const int64_t hash = fingerprint(facts);
  at::Tensor extremes = facts.empty() ? at::full({2}, none, at::kLong) : at::tensor({hash, -hash}, at::kLong);
  world.all_reduce(extremes, Reduction::min);
  const int64_t least = extremes[0].item<int64_t>();
  if (least == none || least == -extremes[1].item<int64_t>()) return;
  throw AgreedError(2, fmt::format("{}; {}", tell_difference(gather_json(world, facts), hosts), cure));
}

void require_same_config(Communicator& world, std::span<const std::string> hosts, const Config& config) {
  require_same(world, hosts, {{"LMNet", build_id()}, {"LibTorch", TORCH_VERSION}},
               "run the same build of lmnet on all hosts");
  require_same(world, hosts, values_of(config), "start all ranks with the same config and the same overrides");
}

void require_same_plan(Communicator& world, std::span<const std::string> hosts, const Config& config,
                       const ModelSpec& spec, const Tokenizer& tokenizer) {
  const ParameterCount count = count_parameters(spec.shape, spec.graph);
  std::vector<Fact> facts = {{"a network of", fmt::format("{} parameters", count.total())},
                             {"the tokenizer", tokenizer.hash()}};
  for (const StageConfig& stage : config.train.stages)
    facts.emplace_back(fmt::format("the plan of stage {}", stage.name),
                       fmt::format("{:016x}", plan_of(spec, config, world.size(), parse_trains(stage)).hash()));
  require_same(world, hosts, facts, "give all hosts the same files of model.backbone and data.tokenizer");
}

std::vector<Fact> data_facts(const Config& config) {
  std::vector<Fact> facts;
  const auto look = [&](const Source& source) {
    try {
      for (const auto& file : files_of(source))
        facts.emplace_back(file.string(), fmt::format("with {} bytes", std::filesystem::file_size(file)));
    } catch (const std::exception&) {  // told by who opens it, unless others can
      facts.emplace_back(source.path.text(), "unreadable");
    }
    facts.emplace_back("the format of " + source.path.text(), fmt::format("{:016x}", source.format.hash()));
  };
  for (const auto* list : {&config.data.train, &config.data.validation})
    for (const Source& source : sources(config.data, *list)) look(source);
  return facts;
}

void require_same_data(Communicator& world, std::span<const std::string> hosts, const Config& config, bool reads) {
  require_same(world, hosts, reads ? data_facts(config) : std::vector<Fact>(),
               "let all hosts see the same files of data");
}

void require_shared_folder(Communicator& world, std::span<const std::string> hosts, const std::filesystem::path& folder,
                           const std::string& lease_id) {
  const std::string id = gather_texts(world, lease_id)[0];
  together(world, [&] {
    // A host may keep what it knows of a shared folder for a few seconds.
    constexpr std::chrono::milliseconds interval{100}, patience{5000};
    for (auto waited = interval; look_at_lease(folder).holder.id != id; waited += interval) {
      if (waited > patience)
        throw ConfigError(
            fmt::format("rank {} on {} does not see {} that rank 0 on {} has made: run.dir must lie on a "
                        "disk that all hosts share",
                        world.rank(), hosts[world.rank()], folder.string(), hosts[0]));
      std::this_thread::sleep_for(interval);
    }
  });
}

}  // namespace lmnet
