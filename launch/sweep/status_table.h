#pragma once
#include <string>
#include <vector>

#include "launch/sweep/run_view.h"

namespace lmnet::sweep {

/// A line for each run with its state and how far it is, after a headline that counts them. Of more than `rows` lines
/// those of runs that wait or are done are left out first, and counted instead.
std::vector<std::string> status_table(const std::string& sweep, const std::vector<RunView>& runs, bool colors,
                                      size_t rows);

/// `done · update 200 · validation loss 2.3412`, `failed (code 3): …`: what became of a run, on one line.
std::string outcome(const RunView& run);

}  // namespace lmnet::sweep
