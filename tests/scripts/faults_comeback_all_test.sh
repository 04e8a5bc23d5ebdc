#!/usr/bin/env bash
# The same of 150 runs.
# labels: all serial
# seconds: 5400
exec "$(dirname "${BASH_SOURCE[0]}")/../faults/comeback"
