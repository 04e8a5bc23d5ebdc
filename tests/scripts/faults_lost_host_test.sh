#!/usr/bin/env bash
# A supervised run goes on by itself when it has lost a rank or a host.
# labels: all serial
exec "$(dirname "${BASH_SOURCE[0]}")/../faults/lost_host"
