#pragma once

namespace lmnet {

/// `lmnet VERB …`: reads the command line, runs the verb and returns the exit code of the process: 0 done, 2 wrong use
/// or config, 3 bad data or checkpoint, 4 communication, 128 + signal after a saved stop, 1 anything else.
int run_command_line(int argc, char** argv);

}  // namespace lmnet
