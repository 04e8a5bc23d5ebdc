#!/usr/bin/env bash
# A rank that throws, stops, dies or is started differently: the job ends, the first cause is the last line that LMNet
# prints, the exit code is that of the cause and status.json has both. On one machine; tests/faults/run does it on hosts.
# labels: serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
common=(train tiny.yaml parallel.vertex=2 parallel.timeout=3s 'train.stages[1].until=1u' checkpoint.every=4u)

# breaks CODE TEXT ARGUMENTS…: launch/mpirun ends with CODE in time, and TEXT is in its only and last line of LMNet.
breaks() {
  local expected=$1 text=$2 code=0
  shift 2
  rm -rf runs
  # Apart, since mpirun passes on both as they come, also in the middle of a line.
  timeout 60 "$root/launch/mpirun" "$@" >out.txt 2>errors.txt || code=$?
  cat errors.txt >>out.txt
  [ "$code" = "$expected" ] || fail "$*: ended with $code, not $expected: $(cat out.txt)"
  [ "$(grep -c '^lmnet: ' out.txt)" = 1 ] || fail "$*: not one cause: $(cat out.txt)"
  grep '^lmnet: ' out.txt | grep -qE -- "$text" || fail "$*: says nothing of \"$text\": $(cat out.txt)"
  echo "ok: $(grep '^lmnet: ' out.txt)"
}

# failed CODE TEXT: what status.json must tell.
failed() {
  grep -q '"state": "failed"' runs/tiny/status.json || fail "status.json: $(cat runs/tiny/status.json)"
  grep -q "\"code\": $1," runs/tiny/status.json || fail "status.json: $(cat runs/tiny/status.json)"
  grep -qE -- "$2" runs/tiny/status.json || fail "status.json: $(cat runs/tiny/status.json)"
}

# An exception on one rank.
for phase in step checkpoint; do
  LMNET_FAULT="rank=1 phase=$phase action=throw" breaks 1 'rank 1 on .*thrown on rank 1' -np 2 "$lmnet" "${common[@]}"
  failed 1 'thrown on rank 1'
  grep -q 'thrown on rank 1' runs/tiny/logs/rank-000.log || fail "the log of rank 0 does not name it"
done

# The others hear of it before the rank's disk is done with the checkpoint that it writes.
LMNET_FAULT='rank=0 phase=save-manifest action=sleep seconds=60; rank=0 phase=step update=49 action=throw' \
  breaks 1 'rank 0 on .*thrown on rank 0' -np 2 "$lmnet" "${common[@]}" checkpoint.every=25u checkpoint.ahead=40 \
  'train.stages[1].until=45u'
grep -q 'phase save-manifest, .* sleeps' out.txt || fail "the checkpoint was complete before: $(cat out.txt)"
failed 1 'thrown on rank 0'

# An update that waits for a disk that hangs: it is named.
LMNET_FAULT='rank=1 phase=save-snapshot action=sleep' breaks 4 'checkpoint of update 4.* from rank 1' \
  -np 2 "$lmnet" "${common[@]}"
failed 4 'rank 1'

# A rank that sleeps for longer than the time-out is as good as stopped; the phase is named.
LMNET_FAULT='rank=1 phase=checkpoint action=sleep' breaks 4 'checkpoint of update 4' -np 2 "$lmnet" "${common[@]}"
failed 4 'rank 1'

# Three ranks that wait for it give up at the same moment: one of them says it.
LMNET_FAULT='rank=3 phase=step update=2 action=sleep' breaks 4 'update 2.* from rank 3' -np 4 "$lmnet" "${common[@]}" parallel.vertex=1

# Another config, and other data, on one rank: both values, nothing written.
breaks 2 'rank 0 on .* has train.clip 1, rank 1 on .* has 0.5' \
  -np 1 "$lmnet" "${common[@]}" : -np 1 "$lmnet" "${common[@]}" train.clip=0.5
[ ! -e runs ] || fail "a refused start wrote a run folder"
mkdir -p elsewhere/data
cp tiny.yaml elsewhere/
head -100 data/text.jsonl >elsewhere/data/text.jsonl
breaks 2 'rank 0 on .* has data/text.jsonl with [0-9]+ bytes, rank 1 on .* has with' -np 1 "$lmnet" "${common[@]}" parallel.vertex=1 : \
  -np 1 --wdir "$work/elsewhere" "$lmnet" "${common[@]}" parallel.vertex=1
[ ! -e runs ] || fail "a refused start wrote a run folder"

# A killed rank is named by launch/mpirun.
LMNET_FAULT='rank=1 phase=step update=3 action=sleep' timeout 60 "$root/launch/mpirun" -np 2 "$lmnet" "${common[@]}" \
  parallel.timeout=60s >out.txt 2>&1 &
job=$!
until grep -q 'LMNET_FAULT: rank 1 .* sleeps' out.txt; do
  sleep 0.1
  kill -0 "$job" || fail "ended before its fault: $(cat out.txt)"
done
for process in /proc/[0-9]*; do
  if [ "$(readlink "$process/cwd")" = "$work" ] && [ "$(cat "$process/comm")" = lmnet ] &&
    tr '\0' '\n' <"$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=1; then
    kill -9 "${process#/proc/}"
  fi
done
code=0
wait "$job" || code=$?
[ "$code" = 137 ] || fail "a killed rank ended the job with $code: $(cat out.txt)"
grep -q '^launch/mpirun: rank 1 on .* was ended by signal 9' out.txt || fail "does not name the killed rank: $(cat out.txt)"
echo "ok: $(tail -1 out.txt)"

# A second wish to stop ends what is left at once, and says so, unless all was saved by then.
rm -rf runs
"$root/launch/mpirun" -np 2 -- "$lmnet" "${common[@]}" 'train.stages[1].until=9000u' >out.txt 2>errors.txt &
launcher=$!
for _ in $(seq 300); do grep -q '^update 3/' out.txt && break || sleep 0.1; done
kill -TERM $launcher && sleep 0.1 && kill -TERM $launcher
code=0
wait $launcher || code=$?
case $code in
  137) grep -q '^launch/mpirun: killed all ranks' errors.txt ;;
  138) grep -q '^stopped by signal' out.txt ;;
  *) false ;;
esac || fail "a second signal: ended with $code: $(cat out.txt errors.txt)"
! grep -qE 'Segmentation|Killed|mpirun: abort' errors.txt || fail "a second signal: $(cat errors.txt)"
echo "ok: a second signal, code $code"
