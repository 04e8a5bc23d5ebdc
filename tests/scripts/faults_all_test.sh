#!/usr/bin/env bash
# Every fault in every phase over virtual hosts: found in time, named, with the right exit code; nothing hangs.
# labels: all serial
exec "$(dirname "${BASH_SOURCE[0]}")/../faults/run"
