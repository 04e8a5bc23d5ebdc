#!/usr/bin/env bash
# Checkpoints are what docs/checkpoint-format.md says: a reader written from it with h5py finds everything, for several layouts.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
. "$root/tests/scripts/packages.sh"
requirements=$root/tests/python/h5py.txt
install_packages "$requirements" "$(sha256sum "$requirements" | cut -c1-12)"
make_config

# layout RANKS OVERRIDES…: trains for 17 updates, into the second stage, and reads what was saved.
layout() {
  local n=$1 name=run-$1
  shift
  ranks "$n" train tiny.yaml "run.name=$name" 'train.stages[1].until=2u' "$@" >"$name.log" || fail "$name: $(tail -3 "$name.log")"
  "$lmnet" export "runs/$name" "$name" >/dev/null
  PYTHONPATH=$packages:$root/tests/python python3 "$root/tests/python/checkpoint_test.py" \
    "runs/$name/checkpoints/latest" "$name" || fail "$name"
}
layout 1 model.precision=bf16
layout 2 model.precision=bf16
layout 4 parallel.vertex=2 parallel.zero=0
