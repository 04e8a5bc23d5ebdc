#include "launch/verbs.h"

int main(int argc, char** argv) {
  return lmnet::run_command_line(argc, argv);
}
