#!/usr/bin/env bash
# The sweep of six topologies and two seeds as job arrays of Slurm, each run with a rank on each of two virtual nodes: the
# waiting sweep is killed twice, a run loses a rank, another is taken away by scancel; it ends with a complete table, and
# nothing that was done is made twice. The three launchers give the same losses. Needs root and the scripts of LMNET_CLUSTER
# (default ../shared/cluster).
# labels: all serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
cluster=${LMNET_CLUSTER:-$root/../shared/cluster}
[ -x "$cluster/slurm-up.sh" ] || { echo "skipped: no virtual cluster in $cluster" && exit 77; }
[ "$EUID" = 0 ] || { echo "skipped: virtual nodes need root" && exit 77; }
make_config
# shellcheck source=/dev/null
. "$cluster/mpi-env.sh"

down() {
  "$cluster/slurm-down.sh" >/dev/null 2>&1 || true
  "$cluster/netns-down.sh" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap down EXIT
out=$("$cluster/netns-up.sh" -n 2 -v "$work") || exit 77
eval "$out"
out=$("$cluster/slurm-up.sh" -c 4) || exit 77
eval "$out"
login() { "$cluster/host-exec.sh" h1 "$@"; }

make_sweep
echo 'jobs: 2' >>topologies.yaml
sweep=("$lmnet" sweep topologies.yaml --launcher slurm --slurm '--nodes=2 --ntasks-per-node=1')

done_runs() {
  local status
  for status in runs/topologies/*/status.json; do
    grep -qs '"done"' "$status" || continue
    stat -c '%n %Y' "$(dirname "$status")"/checkpoints/step-*/manifest.json | tail -1
  done
}

until_done() {
  for _ in $(seq 1 2400); do
    [ "$(done_runs | wc -l)" -ge "$1" ] && return
    sleep 0.1
  done
  fail "never came to $1 runs: $(cat sweep.log; login squeue; tail -5 runs/topologies/sweep/logs/*)"
}

for strike in 1 4; do
  login "${sweep[@]}" >sweep.log 2>&1 &
  waiting=$!
  until_done "$strike"
  pids=$(pgrep -f 'lmnet sweep topologies.yaml' | while read -r pid; do [ "$(readlink "/proc/$pid/cwd")" = "$work" ] && echo "$pid"; done)
  # shellcheck disable=SC2086
  kill -9 $pids
  wait "$waiting" 2>/dev/null || true
  done_runs >"before-$strike"
done
[ "$(login squeue --noheader --array | wc -l)" -ge 1 ] || fail "the jobs did not outlive the sweep"
login "$lmnet" sweep topologies.yaml --status >out.txt
grep -q 'running' out.txt || fail "status without a sweep at work: $(cat out.txt)"
code=0
login "$lmnet" sweep topologies.yaml >out.txt 2>&1 || code=$?
{ [ "$code" = 2 ] && grep -q "Slurm's queue holds" out.txt; } || fail "started beside the queue: code $code, $(cat out.txt)"

# A rank is killed: the job goes back into the queue by itself.
victim=''
until victim=$(pgrep -f 'lmnet train .*topologies' | head -1) && [ -n "$victim" ]; do sleep 0.1; done
kill -9 "$victim"
login "${sweep[@]}" >sweep.log 2>&1 || fail "the last call: $(cat sweep.log; tail -5 runs/topologies/sweep/logs/*)"
grep -q 'comes back' runs/topologies/sweep/logs/* || fail "the job whose rank was killed did not go back into the queue"
[ "$(done_runs | wc -l)" = 12 ] || fail "not complete: $(cat sweep.log)"
for strike in 1 4; do
  grep -vxFf <(done_runs) "before-$strike" && fail "a run that was done was made again"
done
login "$lmnet" sweep topologies.yaml --report >out.txt
[ "$(grep -c '^topology=.* 2$' out.txt)" = 6 ] || fail "the table is not complete: $(cat out.txt)"
echo "ok: 12 runs as job arrays on two nodes, killed twice, a rank lost"

# A job that is pre-empted saves, goes back into the queue and goes on; one that is cancelled saves and stays away.
sed -i 's/16u/100000u/; s/^grid.*/name: long/; s/^seeds: 2/seeds: 1/' topologies.yaml
login "${sweep[@]}" >sweep.log 2>&1 &
waiting=$!
metrics=runs/long/seed=1/metrics.jsonl
# until_update TEXT: waits until the run has logged it.
until_update() {
  for _ in $(seq 1 600); do
    grep -qs "$1" $metrics && return
    sleep 0.1
  done
  fail "$1 never stood in $metrics: $(cat sweep.log runs/long/sweep/logs/*; login squeue)"
}
until_update '"update":10,'
job=$(login squeue --noheader --array --format=%i)
login scancel --signal=USR1 --batch "$job"
until_update '"restart":1'
login scancel "$job"
code=0
wait "$waiting" || code=$?
[ "$code" = 1 ] || fail "a sweep whose job was cancelled ended with $code: $(cat sweep.log)"
grep -q ': stopped · .*CANCELLED' sweep.log || fail "what was cancelled does not count as stopped: $(cat sweep.log)"
grep -q '"stopped"' runs/long/seed=1/status.json || fail "a cancelled run did not save: $(cat runs/long/seed=1/status.json)"
[ -z "$(login squeue --noheader)" ] || fail "a cancelled job went back into the queue"
echo "ok: pre-empted and gone on, cancelled and saved"

# On this machine, by mpirun over both hosts, by Slurm: the same numbers.
sed -i 's/^name.*/name: same/; s/100000u/16u/' topologies.yaml
for launcher in local mpirun slurm; do
  options=()
  [ $launcher != mpirun ] || options=(--mpirun "--hosts h1:1,h2:1 --mca plm_rsh_agent $cluster/rsh-agent.py")
  [ $launcher != slurm ] || options=(--slurm '--nodes=2 --ntasks-per-node=1')
  login "$lmnet" sweep topologies.yaml --launcher $launcher "${options[@]}" run.dir=by-$launcher >sweep.log 2>&1 ||
    fail "by $launcher: $(cat sweep.log by-$launcher/same/sweep/logs/*)"
  field by-$launcher/same/seed=1/metrics.jsonl update loss grad_norm batch_hash >$launcher.txt
  [ "$(wc -l <$launcher.txt)" = 24 ] || fail "$launcher made $(wc -l <$launcher.txt) updates"
  diff local.txt $launcher.txt >/dev/null || fail "$launcher gives other losses: $(diff local.txt $launcher.txt | head -4)"
done
echo "ok: local, mpirun and slurm give the same losses"
