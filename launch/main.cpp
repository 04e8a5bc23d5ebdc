#include <csignal>

#include "launch/verbs.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files fails the write instead, as a full disk does
  return lmnet::run_command_line(argc, argv);
}
