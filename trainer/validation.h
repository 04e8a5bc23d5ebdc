#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "trainer/config/config.h"
#include "trainer/console.h"
#include "trainer/engine.h"

namespace lmnet {

struct ValidationResult {
  double loss = 0;  // mean over the targets of all sources
  nlohmann::ordered_json by_source = nlohmann::ordered_json::object();
};

/// The validation sources of a run, each sequence once, dealt out over the replicas.
class Validation {
 public:
  /// Reads this replica's share on its first rank. Throws DataError.
  Validation(const Config& config, const Tokenizer& tokenizer, Mesh& mesh);

  bool empty() const { return names_.empty(); }
  /// Bad records that this rank passed over.
  const std::vector<SkippedRecord>& skipped() const { return skipped_; }
  /// Collective; the same result on all ranks. `broken_off` is asked before each batch and answers alike on all ranks;
  /// nothing comes of a validation that is.
  std::optional<ValidationResult> run(Engine& engine, const std::function<bool()>& broken_off,
                                      const Advance& advance = {});

 private:
  Mesh& mesh_;
  int64_t rows_, length_;
  std::vector<std::string> names_;
  std::vector<SkippedRecord> skipped_;
  std::vector<std::vector<TokenBatch>> batches_;  // by source; filled on the first rank of each replica
};

}  // namespace lmnet
