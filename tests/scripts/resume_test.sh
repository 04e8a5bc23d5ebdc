#!/usr/bin/env bash
# A run that is stopped by a signal, or killed, and started again leaves the same metrics and the same weights, bit for
# bit, as one that was never stopped.
# labels: serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config

# until_update FOLDER N: waits until the run has logged update N.
until_update() {
  for _ in $(seq 1 600); do
    [ -f "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ] && return
    sleep 0.05
  done
  fail "$1 never reached update $2"
}

# ours PROGRAM: the processes of this test that run it.
ours() {
  local process
  for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = "$1" ] && [ "$(readlink "$process/cwd")" = "$work" ] || continue
    echo "${process#/proc/}"
  done
}

# same_run A B: metrics and the tensors of the final checkpoint.
same_run() {
  field "$1/metrics.jsonl" update loss grad_norm lr batch_hash >a.txt
  field "$2/metrics.jsonl" update loss grad_norm lr batch_hash >b.txt
  [ "$(wc -l <a.txt)" = 60 ] || fail "$1 has $(wc -l <a.txt) updates in its metrics"
  diff a.txt b.txt || fail "metrics of $1 and $2 differ"
  for run in "$1" "$2"; do
    "$lmnet" inspect "$run" --json | python3 -c 'import json, sys; print(*sorted(map(json.dumps, [{k: t[k] for k in ("name", "crc32c")} for t in json.load(sys.stdin)["checkpoint"]["tensors"]])), sep="\n")' >"$(basename "$run").tensors"
  done
  grep -q crc32c "$(basename "$1").tensors" || fail "inspect shows no checksums"
  diff "$(basename "$1").tensors" "$(basename "$2").tensors" >/dev/null || fail "weights of $1 and $2 differ"
}

slow=(train.micro_batch=1) # smaller steps, so that the signal comes in between
for layout in "1 1" "2 1" "2 2" "4 2"; do
  read -r n vp <<<"$layout"
  common=(train tiny.yaml "parallel.vertex=$vp" "${slow[@]}")
  rm -rf runs
  ranks "$n" "${common[@]}" run.name=whole >whole.log || fail "unbroken run on $n ranks: $(tail -3 whole.log)"

  ranks "$n" "${common[@]}" run.name=stopped >stopped.log 2>&1 &
  job=$!
  until_update runs/stopped 13
  # mpirun passes USR1 on; ranks answer with 128 + 10.
  kill -USR1 "$(ours mpirun)"
  code=0
  wait "$job" || code=$?
  [ "$code" = 138 ] || fail "stop by USR1 ended with $code: $(tail -3 stopped.log)"
  grep -q '"stopped"' runs/stopped/status.json || fail "status.json does not say stopped"
  grep -q 'stopped by signal USR1 at update' stopped.log || fail "does not name the signal: $(tail -3 stopped.log)"
  touch runs/stopped/stop # by `lmnet stop`, of the start before
  ranks "$n" "${common[@]}" run.name=stopped >>stopped.log || fail "resume after the stop: $(tail -3 stopped.log)"
  same_run runs/whole runs/stopped

  ranks "$n" "${common[@]}" run.name=killed >killed.log 2>&1 &
  job=$!
  until_update runs/killed 33
  kill -9 "$(ours lmnet | tail -1)"
  wait "$job" && fail "the killed run ended with 0"
  ranks "$n" "${common[@]}" run.name=killed >>killed.log || fail "resume after the kill: $(tail -3 killed.log)"
  same_run runs/whole runs/killed
  grep -q '"restart":1' runs/killed/metrics.jsonl || fail "no restart number in the metrics"
  echo "ok: $n ranks, vertex $vp"
done

# A signal that comes while the program still starts stops it before its first update.
rm -rf runs
"$lmnet" train tiny.yaml run.name=early >early.log 2>&1 &
job=$!
caught=0
until ((16#$caught >> 9 & 1)); do # signal 10, USR1
  sleep 0.002
  caught=$(sed -n 's/^SigCgt:\t//p' "/proc/$job/status") || fail "ended before it listened: $(cat early.log)"
done
[ ! -e runs ] || fail "the program listens only when the run has begun"
kill -USR1 "$job"
code=0
wait "$job" || code=$?
[ "$code" = 138 ] || fail "an early USR1 ended with $code: $(tail -3 early.log)"
grep -q 'stopped by signal USR1 during start-up;' early.log || fail "an early USR1 did not stop the run: $(tail -3 early.log)"
echo "ok: a signal during the start"

# The tokenizer is the one that the checkpoint was trained with, whatever its path leads to now.
if [ -d "$samples/tokenizers/gpt2" ]; then
  cp -rL "$samples/tokenizers/gpt2" tokenizer
  gpt2=(train tiny.yaml run.name=tokenizer data.tokenizer=./tokenizer model.backbone.vocab_size=50257)
  ranks 1 "${gpt2[@]}" 'train.stages[1].until=1u' >tokenizer.log || fail "run with a tokenizer: $(tail -3 tokenizer.log)"
  echo >>tokenizer/tokenizer.json
  code=0
  ranks 1 "${gpt2[@]}" 'train.stages[1].until=2u' >tokenizer.log 2>&1 || code=$?
  [ "$code" = 2 ] || fail "another tokenizer ended with $code: $(tail -3 tokenizer.log)"
  grep -q "the tokenizer's files are not those" tokenizer.log || fail "another tokenizer: $(tail -3 tokenizer.log)"
  echo "ok: another tokenizer is refused"
fi
