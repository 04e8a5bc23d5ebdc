# shellcheck shell=bash
# Sourced by the scripts that Slurm runs (train.sbatch, sweep.sbatch): a training run as a job that comes back by itself,
# with the same number, after a pre-emption, before the end of its time, after a lost node or a dead rank.

# Of an array's last task SLURM_JOB_ID is the number of the whole array.
job_number=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job_number=${job_number:-$SLURM_JOB_ID}
say() { echo "job $job_number: $1 ($(date '+%F %T'))" >&2; }
give_up() {
  say "$1"
  exit "$2"
}

# run_in_job LAUNCH PROGRAM LAUNCHER RESTARTS CONFIG OVERRIDE…: trains on all tasks of this job, and ends the script. LAUNCH:
# the folder launch/. LAUNCHER: srun, mpirun, or auto: srun where it has PMIx. RESTARTS: starts after faults, in a row; a
# saved stop does not count.
run_in_job() {
  local launch=$1 program=$2 launcher=$3 restarts=$4 effective run before start job='' asked='' ended='' code=0
  shift 4
  effective=$("$program" train "$@" --print-config) || give_up "the config is refused" $?
  run=$(key dir)/$(key name)
  if ((${SLURM_RESTART_COUNT:-0} > 0)); then
    export LMNET_LEASE_WAIT=120 # the folder of a node that was lost is free after a minute
  else
    rm -f "$run/slurm/faults"
  fi
  before=$(status time)
  say "start $((${SLURM_RESTART_COUNT:-0} + 1)) on $SLURM_JOB_NODELIST: $run"
  choose_start
  # USR1 is this script's alone; TERM comes from Slurm, which ends the job.
  trap 'say "asked to save and stop" && asked=yes && pass_on' USR1
  trap 'ended=yes && pass_on' TERM
  "${start[@]}" train "$@" &
  job=$!
  [ -z "$asked$ended" ] || pass_on
  while kill -0 "$job" 2>/dev/null; do wait "$job"; done # a trapped signal ends `wait` early
  wait "$job" && code=0 || code=$?
  job=''
  [ "$code" != 0 ] || exit 0
  if [ "$(status state)" = stopped ] && [ "$(status time)" != "$before" ]; then after_stop; fi
  after_fault
}

key() { sed -n "/^run:/,/^[a-z]/s/^  $1: *//p" <<<"$effective" | tr -d "\"'"; }
status() { sed -nE "s/,\$//; s/^ *\"$1\": \"?([^\"]*)\"?\$/\1/p" "$run/status.json" 2>/dev/null || true; }
newest() {
  local checkpoints=("$run"/checkpoints/step-*)
  basename "${checkpoints[-1]}"
}
pass_on() { [ -z "$job" ] || kill -USR1 "$job" 2>/dev/null || true; }

choose_start() {
  if [ "$launcher" = auto ]; then
    if srun --mpi=list 2>&1 | grep -q pmix; then launcher=srun; else launcher=mpirun; fi
  fi
  case $launcher in
    # Without --kill-on-bad-exit a step whose rank was killed waits for ever; --cpus-per-task is not handed on by itself.
    srun)
      start=(srun --mpi=pmix --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"} "$program")
      ;;
    mpirun) start=("$launch/mpirun" -- "$program") ;;
    *) give_up "the launcher is srun or mpirun, not $launcher" 2 ;;
  esac
}

come_back() {
  say "$1: comes back"
  scontrol requeue "$job_number" || give_up "Slurm does not requeue the job" "$code"
  trap - TERM
  sleep 300 # until Slurm ends this script
  exit "$code"
}

after_stop() {
  rm -f "$run/slurm/faults"
  case $(status reason) in
    "lmnet stop"* | run.time_limit*) give_up "stopped by $(status reason)" "$code" ;;
  esac
  [ ! -e "$run/stop" ] || give_up "stopped by $(status reason), and lmnet stop" "$code"
  [ -z "$ended" ] || give_up "stopped by Slurm, saved" "$code"
  come_back "stopped by $(status reason)"
}

after_fault() {
  local faults=$run/slurm/faults fault="code $code" known
  [ -z "$ended" ] || give_up "ended by Slurm" "$code"
  case $code in 2 | 3) give_up "ended with code $code, which comes again" "$code" ;; esac
  mkdir -p "$run/slurm"
  known=$(tail -1 "$faults" 2>/dev/null)
  # One that did not even begin says nothing new: a node may need a while.
  [ "$(status time)" = "$before" ] || fault+=" at update $(status update) after $(newest): $(status reason | tr -d 0-9)"
  [[ $known != *" after "* || $known == *" after $(newest): "* ]] || rm -f "$faults" # it has come further since
  echo "$fault" >>"$faults"
  (($(wc -l <"$faults") <= restarts)) || give_up "$restarts faults in a row" "$code"
  [[ $fault != *" at update "* || $fault != "$known" ]] || give_up "the same fault twice at the same update ($fault)" "$code"
  come_back "$fault"
}
