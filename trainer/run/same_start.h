#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "parallel/communicator.h"
#include "trainer/config/config.h"
#include "trainer/model_spec.h"

namespace lmnet {

/// Something that all ranks must see alike: its name and value, for people.
using Fact = std::pair<std::string, std::string>;

/// Throws AgreedError with code 2 where ranks differ: it names the first fact that does, the values and the ranks
/// (`rank 0 on h1 has train.clip 1, rank 3 on h4 has 0.5`), then `cure`. A rank without facts takes no part in the
/// comparison. Collective.
void require_same(Communicator& world, std::span<const std::string> hosts, const std::vector<Fact>& facts,
                  const std::string& cure);

/// The same config and the same program on all ranks.
void require_same_config(Communicator& world, std::span<const std::string> hosts, const Config& config);

/// The same network, tokenizer and plan of each stage.
void require_same_plan(Communicator& world, std::span<const std::string> hosts, const Config& config,
                       const ModelSpec& spec, const Tokenizer& tokenizer);

/// The files of data that are seen from here, with their sizes.
std::vector<Fact> data_facts(const Config& config);

/// The same files of data, by name and size, on all ranks that read them (`reads`).
void require_same_data(Communicator& world, std::span<const std::string> hosts, const Config& config, bool reads);

/// All ranks see the run folder that rank 0 has taken: its lease has this id (rank 0's counts). Throws AgreedError.
void require_shared_folder(Communicator& world, std::span<const std::string> hosts, const std::filesystem::path& folder,
                           const std::string& lease_id);

}  // namespace lmnet
