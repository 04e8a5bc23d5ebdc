#!/usr/bin/env bash
# One run folder belongs to one run at a time; a run that was stopped or killed gives it to the next one.
# labels: serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
common=(train tiny.yaml parallel.vertex=2 parallel.timeout=60s)

# A run whose rank 1 sleeps in update 3.
LMNET_FAULT='rank=1 phase=step update=3 action=sleep' "$root/launch/mpirun" -np 2 "$lmnet" "${common[@]}" >first.txt 2>&1 &
job=$!
until grep -qs "LMNET_FAULT: rank 1 .* sleeps" first.txt; do
  sleep 0.05
  kill -0 "$job" || fail "ended before its fault: $(cat first.txt)"
done

# Two at the same time: the second is refused at once and names the first, which goes on.
holder=$(python3 -c 'import json; print(json.load(open("runs/tiny/lease.json"))["pid"])')
for second in "" "train.clip=2"; do
  start=$(date +%s%N) told=''
  while read -r line; do
    [[ $line != lmnet:* ]] || told=$((($(date +%s%N) - start) / 1000000))
    echo "$line"
  done < <(timeout 60 "$root/launch/mpirun" -np 2 "$lmnet" "${common[@]}" $second 2>&1 || echo "code $?") >second.txt
  code=$(sed -n 's/^code //p' second.txt)
  [ "$code" = 2 ] || fail "a second run on one folder ended with $code: $(cat second.txt)"
  grep -q "^lmnet: runs/tiny belongs to the run of process $holder on $(hostname)" second.txt || fail "not named: $(cat second.txt)"
done
grep -q '"running"' runs/tiny/status.json || fail "the second run has moved the first one's status: $(cat runs/tiny/status.json)"
echo "ok: refused after $told ms: $(grep '^lmnet: ' second.txt)"

# A start that may wait does so for longer than its ranks wait for each other.
LMNET_LEASE_WAIT=60 ranks 2 "${common[@]}" parallel.timeout=5s >third.txt 2>&1 &
third=$!
until grep -qs 'belongs to the run .* this start waits for it' third.txt; do
  sleep 0.05
  kill -0 "$third" || fail "does not wait: $(cat third.txt)"
done
sleep 8
kill -0 "$third" || fail "does not wait long enough: $(cat third.txt)"

# What a killed run has left is taken.
kill -9 "$holder"
wait "$job" && fail "a killed run ended with 0"
until ! kill -0 "$holder" 2>/dev/null; do sleep 0.05; done
wait "$third" || fail "a dead run's folder is not taken: $(cat third.txt)"
[ ! -e runs/tiny/lease.json ] || fail "a run that is done keeps its folder"
grep -q '"restart":1' runs/tiny/metrics.jsonl || fail "a start after a kill has no number of its own"
echo "ok: a dead run's folder is taken at once"

# A changed config is shown field by field.
ranks 2 "${common[@]}" train.micro_batch=4 'train.stages[1].until=50u' checkpoint.keep=2 >changed.txt 2>&1 || fail "changes: $(cat changed.txt)"
for change in 'train.micro_batch: 2 → 4' 'train.stages\[1\].until: 45u → 50u' 'checkpoint.keep: 3 → 2'; do
  grep -q "changed on resume: $change" changed.txt || fail "\"$change\" is not shown: $(cat changed.txt)"
done
echo "ok: changes are shown"
