#pragma once
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "trainer/data_words.h"

namespace lmnet {

struct PrepareOptions {
  std::string what;                    // a config's YAML file; or raw data: a file, a glob or a folder
  std::string out;                     // the folder to write
  std::vector<std::string> overrides;  // of a config
  DataWords data;                      // of raw data
  int threads = 0;                     // of each rank; 0: as many as the rank may use
  bool list = false;                   // only tell what there is to do
};

/// `lmnet prepare`: writes the sources in data.train (or the raw data) as tokens, each into a folder of its own if they
/// are several. Called again it goes on where it was. Files are dealt out over the ranks. Collective; throws
/// AgreedError. Returns 0.
int prepare(Communicator& world, const PrepareOptions& options);

}  // namespace lmnet
