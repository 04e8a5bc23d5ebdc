#!/usr/bin/env bash
# A sweep of six topologies and two seeds on two ranks, killed twice, ends with a complete table, and no run that was done
# is made twice; nothing is left running. What cannot be made is refused before anything starts; what fails is kept with
# its reason and started again when asked; what is prepared is made once.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
export OMP_NUM_THREADS=1

make_sweep

# running: our processes that are still there.
running() {
  local process
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/cwd" 2>/dev/null)" = "$work" ] && grep -qzE '(lmnet|mpirun)$' "$process/cmdline" 2>/dev/null &&
      echo "${process#/proc/}"
  done
}

# done_runs: what is done, with what its checkpoint was made of, which no later call may touch.
done_runs() {
  local status
  for status in "$1"/*/status.json; do
    grep -q '"done"' "$status" || continue
    stat -c '%n %Y' "$(dirname "$status")"/checkpoints/step-*/manifest.json | tail -1
  done
}

# until_done N: waits until N runs are done and another one is at work.
until_done() {
  local now
  for _ in $(seq 1 1200); do
    now=$(done_runs runs/topologies 2>/dev/null | wc -l)
    [ "$now" -ge "$1" ] && [ "$(grep -l '"running"' runs/topologies/*/status.json 2>/dev/null | wc -l)" -ge 1 ] && return
    sleep 0.05
  done
  fail "never came to $1 runs: $(cat sweep.log)"
}

# Faults are found first, all of them, and nothing is written.
code=0
"$lmnet" sweep topologies.yaml parallel.vertex=3 >out.txt 2>&1 || code=$?
[ "$code" = 2 ] || fail "an impossible sweep ended with $code: $(cat out.txt)"
grep -q '12 of 12 runs cannot be made' out.txt || fail "does not count the faults: $(cat out.txt)"
[ ! -e runs ] || fail "an impossible sweep wrote $(find runs)"
"$lmnet" sweep topologies.yaml --dry-run >out.txt || fail "dry run: $(cat out.txt)"
[ "$(grep -c 'topology=.*2 ranks' out.txt)" = 12 ] || fail "dry run lists $(cat out.txt)"
[ ! -e runs ] || fail "a dry run wrote $(find runs)"

# Killed twice.
for strike in 2 6; do
  "$lmnet" sweep topologies.yaml >sweep.log 2>&1 &
  sweep=$!
  until_done "$strike"
  kill -9 "$sweep"
  wait "$sweep" 2>/dev/null || true
  done_runs runs/topologies >"before-$strike"
done
"$lmnet" sweep topologies.yaml >sweep.log 2>&1 || fail "the third call: $(cat sweep.log)"
[ "$(done_runs runs/topologies | wc -l)" = 12 ] || fail "not complete: $(cat sweep.log)"
for strike in 2 6; do
  grep -vxFf <(done_runs runs/topologies) "before-$strike" && fail "a run that was done was made again"
done
[ -z "$(running)" ] || fail "left running: $(running)"
"$lmnet" sweep topologies.yaml --status >out.txt
[ "$(grep -c '^  done .* 24/24 · validation loss' out.txt)" = 12 ] || fail "status: $(cat out.txt)"
"$lmnet" sweep topologies.yaml >sweep.log || fail "a complete sweep: $(cat sweep.log)"
grep -q 'started' sweep.log && fail "a complete sweep started something: $(cat sweep.log)"
echo "ok: killed twice, complete, nothing made twice"

# A second one at the same time is refused; Ctrl-C saves and stops.
"$lmnet" sweep topologies.yaml --jobs 2 run.dir=twice train.stages[1].until=400u >sweep.log 2>&1 &
sweep=$!
for _ in $(seq 1 600); do
  [ "$(grep -l '"running"' twice/topologies/*/status.json 2>/dev/null | wc -l)" = 2 ] && break
  sleep 0.05
done
code=0
"$lmnet" sweep topologies.yaml run.dir=twice train.stages[1].until=400u >out.txt 2>&1 || code=$?
[ "$code" = 2 ] || fail "a second sweep ended with $code: $(cat out.txt)"
grep -q 'is at work already: process' out.txt || fail "a second sweep: $(cat out.txt)"
"$lmnet" sweep topologies.yaml --status run.dir=twice >out.txt
grep -q '12 runs: 2 running, 10 waiting' out.txt || fail "status of a sweep at work: $(cat out.txt)"
{ sleep 3 && kill -INT "$sweep"; } &
PYTHONPATH=$root/tests/python python3 - "$lmnet" <<'PY' || fail "--status on a terminal"
import sys

from screen import run

# A table that is drawn anew until nothing is at work any more.
code, screen = run([sys.argv[1], "sweep", "topologies.yaml", "--status", "run.dir=twice"], 90, {})
drawn = {row for row in screen.seen if "running  topology=1-1,seed=1" in row}
assert code == 0 and screen.colors and len(drawn) > 1, (code, drawn)
assert all(len(row) <= 90 for row in drawn) and len(screen.rows) < 20, screen.rows
assert any("stopped" in row and "topology=1-1,seed=1" in row for row in screen.rows), screen.rows
PY
code=0
wait "$sweep" || code=$?
[ "$code" = 130 ] || fail "a sweep that was stopped ended with $code: $(cat sweep.log)"
grep -q '2 runs asked to save and stop' sweep.log || fail "does not say what Ctrl-C does: $(cat sweep.log)"
grep -qF "\`lmnet sweep topologies.yaml run.dir=twice 'train.stages[1].until=400u' --jobs 2\` goes on" sweep.log ||
  fail "the way on is not the call that was made: $(cat sweep.log)"
[ "$(grep -l '"stopped"' twice/topologies/*/status.json | wc -l)" = 2 ] || fail "not saved: $(cat sweep.log)"
[ -z "$(running)" ] || fail "left running after Ctrl-C: $(running)"
echo "ok: one at a time, Ctrl-C saves"

# A backbone and a first stage are made once; a run that fails is kept with its reason, and retried when asked.
cat >shared.yaml <<'YAML'
base: tiny.yaml
set: {train.stages: [{name: edges, trains: [edges], until: 6u, lr: 1e-3}]}
prepare:
  backbone: {base: tiny.yaml, set: {model.topology: 1, model.input.edge: {kind: identity}, train.stages: [{trains: [vertices, embeddings], until: 4u, lr: 1e-3}]}}
list:
  - {name: good, model.topology: 1-2-1}
  - {name: bad, model.topology: 1-3-1, 'data.train[0].path': data/later.jsonl}
YAML
code=0
"$lmnet" sweep shared.yaml >sweep.log 2>&1 || code=$?
[ "$code" = 2 ] && grep -q 'later.jsonl: there is no such file' sweep.log || fail "missing data: $code, $(cat sweep.log)"
[ ! -e runs/shared ] || fail "a run that cannot be made is found after others have begun"
sed 's/^/{"text": 1}, /' data/text.jsonl >data/later.jsonl # no good records
code=0
"$lmnet" sweep shared.yaml >sweep.log 2>&1 || code=$?
[ "$code" = 1 ] || fail "a sweep with a failed run ended with $code: $(cat sweep.log)"
grep -q '\[2/3\] bad: failed (code 3) · .*later.jsonl' sweep.log || fail "the reason is not told: $(cat sweep.log)"
cp data/text.jsonl data/later.jsonl
"$lmnet" sweep shared.yaml >sweep.log 2>&1 && fail "a failed run was started again without being asked: $(cat sweep.log)"
"$lmnet" sweep shared.yaml --retry >sweep.log 2>&1 || fail "retry: $(cat sweep.log)"
[ "$(grep -c ': started' sweep.log)" = 1 ] || fail "retry started more than what failed: $(cat sweep.log)"
grep -q 'backbone: runs/shared/backbone' runs/shared/good/config.yaml || fail "not on the prepared backbone"
cat >stages.yaml <<'YAML'
base: tiny.yaml
prepare:
  edges: {as: run.resume, set: {train.stages: [{name: edges, trains: [edges], until: 6u, lr: 1e-3}]}}
set: {train.stages: [{name: edges, trains: [edges], until: 6u, lr: 1e-3}, {name: all, trains: [edges, vertices], until: 4u, lr: 1e-3}]}
grid: {'train.stages[1].lr': [1e-3, 1e-4]}
YAML
"$lmnet" sweep stages.yaml --jobs 2 >sweep.log 2>&1 || fail "a shared first stage: $(cat sweep.log)"
for lr in 1e-3 1e-4; do
  [ "$(field "runs/stages/lr=$lr/metrics.jsonl" update | tr '\n' ' ')" = '7 8 9 10 ' ] || fail "lr=$lr did not go on from the shared stage"
done
echo "ok: prepared once, failures kept and retried"
