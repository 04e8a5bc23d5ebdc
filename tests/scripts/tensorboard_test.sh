#!/usr/bin/env bash
# TensorBoard's own reader finds in a run's event files the numbers of metrics.jsonl, each once, also after the run was
# killed and went on, twice; the config as text and a picture of the topology.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
. "$root/tests/scripts/packages.sh"
make_config
requirements=$root/tests/python/tensorboard.txt
install_packages "$requirements" "$(sha256sum "$requirements" | cut -c1-12)"

board() { PYTHONPATH=$packages python3 "$root/tests/python/tensorboard_test.py" "$1"; }

run=(train tiny.yaml run.name=board 'data.validation=[{path: data/text.jsonl, format: c4}]' evaluate.every=9u
  evaluate.batches=2 parallel.vertex=2 train.micro_batch=1)
for strike in 14 37; do
  LMNET_FAULT="rank=0 phase=step update=$strike action=sleep" ranks 2 "${run[@]}" >out.txt 2>&1 &
  job=$!
  until grep -q "\"update\":$((strike - 1))," runs/board/metrics.jsonl 2>/dev/null; do
    kill -0 $job || fail "ended before update $strike: $(tail -3 out.txt)"
    sleep 0.1
  done
  kill -9 "$(sed -nE 's/^ *"pid": ([0-9]+).*/\1/p' runs/board/status.json)"
  wait $job && fail "was not killed at update $strike"
done
ranks 2 "${run[@]}" >out.txt || fail "did not come to its end: $(tail -3 out.txt)"
board runs/board || fail "TensorBoard reads something else"

ranks 1 train tiny.yaml run.name=off log.tensorboard=false 'train.stages[1].until=1u' >out.txt || fail "without TensorBoard: $(tail -3 out.txt)"
[ ! -e runs/off/tensorboard ] || fail "log.tensorboard=false writes event files"
