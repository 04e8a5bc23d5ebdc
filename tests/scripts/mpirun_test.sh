#!/usr/bin/env bash
# launch/mpirun: what its options become, what ranks of other hosts are handed, what it prints. mpirun is played by a
# script that tells its words and some of its environment.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
unset OMP_NUM_THREADS OMP_WAIT_POLICY OMPI_MCA_oob_tcp_keepalive_time "${!SLURM@}" "${!NCCL@}" "${!LMNET@}"
mkdir bin
cat >bin/mpirun <<'SCRIPT'
#!/usr/bin/env bash
printf '%s\n' "words: $*" "threads: ${OMP_NUM_THREADS:-}" "interface: ${OMPI_MCA_btl_tcp_if_include:-} ${NCCL_SOCKET_IFNAME:-}" \
  "keepalive: $OMPI_MCA_oob_tcp_keepalive_time" "oversubscribe: ${OMPI_MCA_rmaps_base_oversubscribe:-}"
[ -z "${PLAYED:-}" ] || printf '%b\n' "$PLAYED" >&2
[ -z "${RUN:-}" ] || printf %s "$RUN" >"$LMNET_JOB"
exit "${CODE:-0}"
SCRIPT
chmod +x bin/mpirun
export PATH=$work/bin:$PATH

# gives CODE TEXT… --- ARGUMENTS…: launch/mpirun ends with CODE and says each TEXT in a line.
gives() {
  local expected=$1 code=0 texts=()
  shift
  while [ "$1" != --- ]; do texts+=("$1") && shift; done
  shift
  "$root/launch/mpirun" "$@" >out.txt 2>&1 || code=$?
  [ "$code" = "$expected" ] || fail "$*: ended with $code, not $expected: $(cat out.txt)"
  for text in "${texts[@]}"; do grep -qF -- "$text" out.txt || fail "$*: no \"$text\" in: $(cat out.txt)"; done
}

unset OMP_NUM_THREADS OMPI_MCA_rmaps_base_oversubscribe
gives 0 'words: -np 2 lmnet train a.yaml' 'oversubscribe: 1' 'launch/mpirun: mpirun -np 2 lmnet train a.yaml' \
  --- -np 2 lmnet train a.yaml
gives 0 'words: -np 2 --mca a b --bind-to none lmnet x' --- -np 2 --mca a b -- lmnet x
gives 0 'words: --host h1:2,h2:2 -np 4 --bind-to numa -x FOO=1 -x LMNET_JOB -x NCCL_SOCKET_IFNAME -x OMP_NUM_THREADS lmnet' \
  'threads: 3' 'interface: eth7 eth7' 'keepalive: 10' \
  --- --hosts h1:2,h2:2 -np 4 --bind numa --threads 3 --interface eth7 --env FOO=1 -- lmnet
grep -q 'oversubscribe: 1' out.txt && fail "settings of one machine on hosts"
OMPI_MCA_oob_tcp_keepalive_time=1 gives 0 'keepalive: 1' --- --hostfile h -- lmnet
OMP_NUM_THREADS=2 gives 0 'words: -x LMNET_JOB -H h1 -x OMP_NUM_THREADS=7 lmnet' --- -H h1 -x OMP_NUM_THREADS=7 lmnet
grep -q -- '-x OMP_NUM_THREADS ' out.txt && fail "a variable is handed on twice: $(cat out.txt)"
gives 0 'lmnet a : -x LMNET_JOB --host h2 lmnet b' --- --host h1 lmnet a : --host h2 lmnet b
gives 0 'words: lmnet a\ b' --- lmnet 'a\ b'
gives 2 'see launch/mpirun --help' ---
gives 2 '--bind needs a value' --- --bind -- lmnet
gives 0 'hands a variable on' --- --help

# What ended a job is the last line; ranks that had no time to write it down are helped.
mkdir run
echo '{
 "state": "running",
 "reason": "",
 "code": 0,
 "update": 7
}' >run/status.json
RUN=$work/run CODE=137 PLAYED='mpirun noticed that process rank 3 with PID 7 on node h2 exited on signal 9 (Killed).' \
  gives 137 'launch/mpirun: rank 3 on h2 was ended by signal 9 (Killed); a training run goes on' --- lmnet
python3 - <<'PY' || fail "status.json: $(cat run/status.json)"
import json
status = json.load(open("run/status.json"))
assert status == {"state": "failed", "reason": "rank 3 on h2 was ended by signal 9 (Killed)", "code": 137, "update": 7}
PY
CODE=205 PLAYED='  HNP daemon   : [[1,0],0] on node h1\n  Remote daemon: [[1,0],2] on node h3' \
  gives 205 'launch/mpirun: host h3 was lost' --- lmnet
echo "ok: launch/mpirun"
