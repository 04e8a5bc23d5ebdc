# shellcheck shell=bash
# Sourced by the scripts that Slurm runs: lmnet on all tasks of a job, saved and put back into the queue when its time is
# over or its nodes are wanted.

# run_in_job LAUNCH PROGRAM WORDS…: runs PROGRAM on every task of this job and ends the script with its code; LAUNCH is the
# folder launch/. USR1 and TERM to the script (the end of the time with --signal=B:USR1@SECONDS, pre-emption) let all ranks
# save and stop; the job then goes back into the queue, and the run goes on from its checkpoint. So it does, up to
# LMNET_REQUEUES (5) times, when a node or a rank was lost. scancel tells the ranks alone: they save, and the job ends.
run_in_job() {
  local launch=$1 code=0 asked='' job command
  shift
  if srun --mpi=list 2>&1 | grep -q pmix; then
    # Without it a step whose rank was killed waits for ever.
    command=(srun --mpi=pmix --kill-on-bad-exit=1)
  else
    command=("$launch/mpirun" -np "$SLURM_NTASKS" --)
  fi
  "${command[@]}" "$@" &
  job=$!
  # shellcheck disable=SC2064
  trap "asked=yes; kill -USR1 $job 2>/dev/null || true" USR1 TERM
  while kill -0 "$job" 2>/dev/null; do
    wait "$job" && code=0 || code=$?
  done
  case $code in
    138 | 143) [ -z "$asked" ] || requeue "saved and stopped" ;;
    137 | 168 | 205) # a rank was killed, the job was there twice, a host was lost
      [ "${SLURM_RESTART_COUNT:-0}" -ge "${LMNET_REQUEUES:-5}" ] || requeue "a rank or a node was lost"
      ;;
  esac
  exit "$code"
}

requeue() {
  echo "job $SLURM_JOB_ID: $1, back into the queue" >&2
  scontrol requeue "$SLURM_JOB_ID" || true # it was cancelled
}
