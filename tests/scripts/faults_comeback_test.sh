#!/usr/bin/env bash
# A dozen runs that are killed or told to stop, at random moments and in the middle of a save, come back as if nothing
# had happened.
# labels: slow serial
exec "$(dirname "${BASH_SOURCE[0]}")/../faults/comeback" --some
