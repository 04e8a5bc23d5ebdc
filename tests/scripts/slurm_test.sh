#!/usr/bin/env bash
# Under Slurm a run comes back by itself, and leaves what an unbroken one leaves: pre-empted, out of time, cancelled, on a
# lost or a drained node; srun, mpirun inside a job and mpirun alone give the same losses; launch/mpirun compares hosts.
# Needs the scripts of LMNET_CLUSTER, which make two virtual hosts with a Slurm of their own, and root.
# labels: all serial
# seconds: 1800
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
cluster=${LMNET_CLUSTER:-$root/../shared/cluster}
for program in slurmctld slurmd munged sbatch; do
  command -v "$program" >/dev/null || { echo "skipped: no $program" && exit 77; }
done
[ "$(id -u)" = 0 ] && [ -x "$cluster/slurm-up.sh" ] || { echo "skipped: needs root and LMNET_CLUSTER" && exit 77; }

. "$cluster/mpi-env.sh"
export OMP_NUM_THREADS=1
chmod 755 "$work"
down() {
  "$cluster/slurm-down.sh" >/dev/null 2>&1 || true
  "$cluster/netns-down.sh" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap down EXIT
up=$("$cluster/netns-up.sh" -n 2 -t 1800 -v "$work") && eval "$up"
up=$("$cluster/slurm-up.sh" -c 4) && eval "$up"
on() { (cd "$work" && "$cluster/host-exec.sh" "$@"); }
login() { on h1 "$@"; }

make_config
sed -i 's/until: 45u/until: 105u/' tiny.yaml # long enough to be struck
config=(tiny.yaml parallel.vertex=2 parallel.timeout=60s train.micro_batch=1)
updates=120

# submit NAME ARGUMENTS…: sets `job`.
submit() {
  local name=$1
  shift
  job=$(login "$lmnet" submit "${config[@]}" "run.name=$name" --nodes 2 --ranks-per-node 2 --time 10m "$@" 2>submit.txt) ||
    fail "submit: $(cat submit.txt)"
  [[ $job =~ ^[0-9]+$ ]] || fail "submit printed no number but $job"
}
state_of() { login scontrol show job "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
restarts_of() { login scontrol show job "$1" | sed -n 's/.* Restarts=\([0-9]*\).*/\1/p'; }
status() { sed -nE "s/^ *\"$2\": \"?([^\"]*)\"?,?$/\1/p" "runs/$1/status.json" 2>/dev/null || true; }
say() { echo "$(date +%T) $*"; }

# until_true SECONDS WHAT COMMAND…
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < end)) || fail "never: $what; $(login squeue --states=all 2>&1); $(tail -20 runs/*/slurm/job-*.out 2>/dev/null)"
    sleep 0.1
  done
}
at_update() { [ -f "runs/$1/metrics.jsonl" ] && [ "$(wc -l <"runs/$1/metrics.jsonl")" -ge "$2" ]; }
in_state() { [ "$(state_of "$1")" = "$2" ]; }
over() { ! login squeue --noheader --jobs="$1" 2>/dev/null | grep -q .; }
restarted() { [ "$(restarts_of "$1")" -ge 1 ]; }

# done_like_whole NAME: the job comes to its end, and the run is as the unbroken one.
done_like_whole() {
  until_true 240 "the end of job $job" over "$job"
  [ "$(status "$1" state)" = done ] || fail "$1 is not done: $(cat "runs/$1/status.json" runs/"$1"/slurm/job-*.out)"
  field "runs/$1/metrics.jsonl" update loss grad_norm batch_hash >own.txt
  diff whole.txt own.txt >/dev/null || fail "metrics of $1 are not those of the unbroken run: $(diff whole.txt own.txt | head -5)"
  ! grep -q $'\x1b' runs/"$1"/slurm/job-*.out || fail "the output of $1 has what is for terminals"
}

# What nobody breaks, started in three ways.
login "$root/launch/mpirun" --mca plm_rsh_agent "$cluster/rsh-agent.py" --hosts h1:2,h2:2 -- "$lmnet" train "${config[@]}" run.name=whole >whole.log 2>&1 ||
  fail "the unbroken run: $(tail -5 whole.log)"
field runs/whole/metrics.jsonl update loss grad_norm batch_hash >whole.txt
[ "$(wc -l <whole.txt)" = $updates ] || fail "the unbroken run has $(wc -l <whole.txt) updates"
# Hosts that do not see the same are told apart before anything starts: /tmp is each one's own.
login cp data/text.jsonl /tmp/own.jsonl
code=0
login "$root/launch/mpirun" --mca plm_rsh_agent "$cluster/rsh-agent.py" --hosts h1:2,h2:2 -- "$lmnet" train "${config[@]}" \
  run.name=unlike 'data.train[0].path=/tmp/own.jsonl' >unlike.txt 2>&1 || code=$?
[ "$code" = 2 ] && grep -qE 'h. has /tmp/own.jsonl .*, h. has ' unlike.txt || fail "hosts with other data: $code, $(cat unlike.txt)"
[ ! -e runs/unlike ] || fail "hosts with other data have begun a run"
say "ok: hosts are compared"
for launcher in srun mpirun; do
  submit "by-$launcher" --launcher $launcher
  done_like_whole "by-$launcher"
  say "ok: $launcher gives the losses of mpirun alone"
done

for launcher in srun mpirun; do
  # Pre-empted: saved, requeued, finished, without anybody.
  submit "preempted-$launcher" --launcher $launcher
  until_true 60 "update 20" at_update "preempted-$launcher" 20
  login scancel --signal=USR1 --batch "$job"
  until_true 30 "a saved stop" grep -q '"stopped"' "runs/preempted-$launcher/status.json"
  until_true 60 "requeued" restarted "$job"
  done_like_whole "preempted-$launcher"
  [ "$(ls "runs/preempted-$launcher/slurm" | grep -c '^job-.*out$')" = 1 ] || fail "the starts have not one output file"
  say "ok: pre-empted under $launcher, back by itself"

  # A node dies.
  submit "lost-$launcher" --launcher $launcher
  until_true 60 "update 20" at_update "lost-$launcher" 20
  "$cluster/netns-fault.sh" off h2
  sleep 5
  "$cluster/netns-up.sh" -b h2 >/dev/null
  "$cluster/slurm-up.sh" -b h2 >/dev/null
  until_true 120 "back after the loss of a node" restarted "$job"
  done_like_whole "lost-$launcher"
  say "ok: lost a node under $launcher, back by itself"
done

# A rank dies.
submit killed
until_true 60 "update 20" at_update killed 20
on h2 sh -c 'kill -9 $(pgrep -x lmnet | head -1)'
until_true 60 "back after the death of a rank" restarted "$job"
done_like_whole killed
say "ok: a rank died, back by itself"

# Cancelled: over; submitted again, it goes on.
submit cancelled
until_true 60 "update 20" at_update cancelled 20
login scancel "$job"
until_true 60 "cancelled" over "$job"
[ "$(status cancelled state)" = stopped ] || fail "a cancelled run did not save: $(cat runs/cancelled/status.json)"
submit cancelled
done_like_whole cancelled
say "ok: cancelled, went on when it was submitted again"

# lmnet stop: saved, over, not requeued.
submit stopped
until_true 60 "update 20" at_update stopped 20
login "$lmnet" status runs/stopped >status.txt
grep -q "runs/stopped · running · update" status.txt || fail "status of a running run: $(cat status.txt)"
grep -q "Slurm job $job: RUNNING" status.txt || fail "status says nothing of the job: $(cat status.txt)"
login "$lmnet" stop runs/stopped >stop.txt || fail "stop: $(cat stop.txt)"
grep -q 'runs/stopped: stopped at update' stop.txt || fail "stop says: $(cat stop.txt)"
until_true 60 "over after lmnet stop" over "$job"
submit stopped
done_like_whole stopped
say "ok: lmnet stop and status"

# Out of time, with Slurm's signal and without one, with a script that is edited by hand: LMNET_FAULT lets its first start
# take 38 s.
for signal in B:USR1@25 B:USR1@1; do
  name=late-${signal#*@}
  mkdir -p "runs/$name/slurm"
  sed -e "s|^lmnet=.*|lmnet=$lmnet|; s|^launch=.*|launch=$root/launch|; s|^config=.*|config=tiny.yaml|" \
    -e "s|^overrides=.*|overrides=(${config[*]:1} run.name=$name)|; s|^\(#SBATCH --signal=\).*|\1$signal|" \
    -e "s|^\(#SBATCH --ntasks-per-node=\).*|\12|; s|^\(#SBATCH --time=\).*|\11|" \
    -e "s|^\(#SBATCH --output=\).*|\1runs/$name/slurm/job-%j.out|" \
    -e 's|^  : # what the ranks.*|  [ -n "${SLURM_RESTART_COUNT:-}" ] \|\| export LMNET_FAULT="rank=3 phase=step update=20 action=sleep seconds=38"|' \
    "$root/launch/slurm/train.sbatch" >late.sbatch
  job=$(login sbatch --parsable late.sbatch) || fail "late.sbatch is not taken"
  until_true 150 "requeued before the end of its time" restarted "$job"
  grep -q 'stopped by' "runs/$name/slurm/job-$job.out" || fail "the end of the time: $(tail -5 "runs/$name/slurm/job-$job.out")"
  done_like_whole "$name"
  say "ok: out of time ($signal), back by itself"
done

# A drained node: the run goes on there; when it is pre-empted, it waits for another one.
submit drained
until_true 60 "update 20" at_update drained 20
login scontrol update NodeName=h2 State=DRAIN Reason=test
login scancel --signal=USR1 --batch "$job"
until_true 60 "waiting" in_state "$job" PENDING
login "$lmnet" status --json runs/drained >status.txt
grep -q '"state":"waiting"' status.txt || fail "status of a waiting run: $(cat status.txt)"
login scontrol update NodeName=h2 State=RESUME
done_like_whole drained
say "ok: a drained node"

# What is wrong is not submitted, and what runs is not submitted twice.
submit once
code=0
login "$lmnet" submit "${config[@]}" run.name=once --nodes 2 --ranks-per-node 2 >twice.txt 2>&1 || code=$?
[ "$code" = 2 ] && grep -qE 'already in the queue as job|which is going on' twice.txt || fail "submitted twice: $code, $(cat twice.txt)"
login "$lmnet" stop runs/once >/dev/null
code=0
login "$lmnet" submit "${config[@]}" run.name=wrong --nodes 3 >wrong.txt 2>&1 || code=$?
[ "$code" = 2 ] && [ ! -e runs/wrong ] || fail "a wrong number of ranks: $code, $(cat wrong.txt)"
say "ok: refused before it waits"
