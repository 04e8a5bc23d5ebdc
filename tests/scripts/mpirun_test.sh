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
gives 2 '--hostfile h: there is no such file' --- --hostfile h -- lmnet
echo h1 >h
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
 "last_error": "",
 "update": 7
}' >run/status.json
RUN=$work/run CODE=137 PLAYED='mpirun noticed that process rank 3 with PID 7 on node h2 exited on signal 9 (Killed).' \
  gives 137 'launch/mpirun: rank 3 on h2 was ended by signal 9 (Killed); a training run goes on' --- lmnet
python3 - <<'PY' || fail "status.json: $(cat run/status.json)"
import json
status = json.load(open("run/status.json"))
lost = "rank 3 on h2 was ended by signal 9 (Killed)"
assert status == {"state": "failed", "reason": lost, "code": 137, "last_error": lost, "update": 7}
PY
CODE=205 PLAYED='  HNP daemon   : [[1,0],0] on node h1\n  Remote daemon: [[1,0],2] on node h3' \
  gives 205 'launch/mpirun: host h3 was lost' --- lmnet
# mpirun's boxes are left out where LMNet has told the cause, or has saved, and else printed; nothing of others is.
rule=$(printf -- '-%.0s' {1..74})
boxes="$rule\nPrimary job  terminated normally, but 1 process returned\na non-zero exit code.\n$rule\n$rule
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:\n\n  Process name: [[1,1],0]\n  Exit code:    2\n$rule"
CODE=2 PLAYED="lmnet: a wrong key\n$rule\nof a program\n$rule\n$boxes\nlast" gives 2 'lmnet: a wrong key' --- lmnet
[ "$(tail -n +2 out.txt | grep -v '^launch/mpirun\|^words\|^threads\|^interface\|^keepalive\|^oversubscribe')" = \
  "$(printf '%s\n' 'lmnet: a wrong key' "$rule" 'of a program' "$rule" last)" ] || fail "a cause that LMNet told: $(cat out.txt)"
CODE=2 PLAYED="a.out: bad\n$boxes" gives 2 'a.out: bad' 'Primary job' 'mpirun detected' 'Exit code:    2' --- a.out
[ "$(grep -c "^$rule\$" out.txt)" = 4 ] || fail "a box is not whole: $(cat out.txt)"
CODE=138 PLAYED=$boxes gives 138 'words: lmnet' --- lmnet
grep -q 'Primary job\|Exit code\|---' out.txt && fail "a saved stop: $(cat out.txt)"
echo "ok: launch/mpirun"

# A supervised run. mpirun is played by a script: each start has its own code and status.json, and notes its words.
cat >bin/mpirun <<'SCRIPT'
#!/usr/bin/env bash
if [[ " $* " == *" check "* ]]; then echo "$*" >checked.txt && cat "$SEEN" && exit; fi
echo "$*" >>starts.txt
read -r code update state <<<"$(sed -n "$(wc -l <starts.txt)p" <<<"$PLAY")"
printf '{\n "state": "%s",\n "reason": "",\n "code": 0,\n "update": %s\n}\n' "${state:-running}" "$update" >"${RUN:-run}"/status.json
[ -n "${RUN:-}" ] || printf %s "$PWD/run" >"$LMNET_JOB"
[ "$code" != 137 ] || echo "mpirun noticed that process rank 1 with PID 7 on node h2 exited on signal 9 (Killed)." >&2
[ "$code" != 4 ] || echo "lmnet: rank 0 (h1): no answer for 5 s (since 03:49:0$RANDOM) from rank 2" >&2
exit "$code"
SCRIPT
# starts N CODE TEXT PLAY ARGUMENTS…: it is started N times, ends with CODE and says TEXT. PLAY: `CODE UPDATE STATE` a line.
starts() {
  local n=$1 expected=$2 text=$3 code=0
  export PLAY=$4
  shift 4
  rm -f starts.txt
  "$root/launch/mpirun" "$@" >out.txt 2>&1 || code=$?
  [ "$code" = "$expected" ] || fail "$PLAY: ended with $code, not $expected: $(cat out.txt)"
  [ "$(wc -l <starts.txt)" = "$n" ] || fail "$PLAY: started $(wc -l <starts.txt) times, not $n: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "$PLAY: no \"$text\" in: $(cat out.txt)"
}
starts 3 0 'rank 1 on h2 was ended by signal 9 (Killed); start 2 of at most 5' $'137 4\n137 8\n0 9 done' --supervise 5 -- lmnet train a
starts 2 137 'the same error came twice' $'137 4\n137 4\n0 9' --supervise 5 -- lmnet train a
starts 2 4 'the same error came twice' $'4 7\n4 7\n0 9' --supervise 5 -- lmnet train a # the time in it does not count
starts 3 137 'ended by signal' $'137 4\n137 5\n137 6\n0 9' --supervise 2 -- lmnet train a
for code in 2 3; do starts 1 $code '' "$code 4 failed" --supervise 5 -- lmnet train a; done
starts 1 138 '' '138 4 stopped' --supervise 5 -- lmnet train a
starts 1 137 'start the same command again' '137 4' -- lmnet train a
gives 2 '--supervise takes a number' --- --supervise many -- lmnet train a
gives 2 '--shrink goes with --supervise' --- --shrink -- lmnet train a

# On the hosts that answer; with fewer replicas where that is allowed.
printf '#!/bin/sh\n[ "$1" = h1 ]\n' >bin/agent
printf '#!/bin/bash\n[[ "$*" == *--print-config ]] && printf "run:\\n  name: a\\n  dir: %%s/runs/x\\nmodel: 1\\n" "$PWD" || [[ "$*" == *"--ranks 2" ]]\n' >bin/lmnet
chmod +x bin/agent bin/lmnet
spare=(--mca plm_rsh_agent agent --no-check --supervise 2)
starts 2 0 'host h2 does not answer' $'205 4\n0 9' "${spare[@]}" --hosts h1:2,h2:2 -np 2 -- lmnet train a
grep -q -- '--hostfile .* -np 2 ' starts.txt || fail "not on the host that answers: $(cat starts.txt)"
starts 2 0 'host h2 does not answer' $'205 4\n0 9' "${spare[@]}" --shrink --hosts h1:3,h2:3 -np 6 -- lmnet train a
grep -q -- '--hostfile .* -np 2 ' starts.txt || fail "not with fewer replicas: $(cat starts.txt)"
printf 'h1 max_slots=8 slots=2\nh2 slots=2' >hosts.txt # no end of the last line
starts 2 0 'host h2 does not answer' $'205 4\n0 9' "${spare[@]}" --shrink --hostfile hosts.txt -np 4 -- lmnet train a
grep -q -- '--hostfile .* -np 2 ' starts.txt || fail "not with the slots of a hostfile: $(cat starts.txt)"

# A first rank on another host notes nothing here: the config tells where the run is.
mkdir -p runs/x/a
RUN=runs/x/a starts 3 0 'start 2 of at most 5' $'137 4\n137 8\n0 9 done' --supervise 5 -- lmnet train a
RUN=runs/x/a starts 2 137 'the same error came twice' $'137 4\n137 4\n0 9' --supervise 5 -- lmnet train a
grep -q '"failed"' runs/x/a/status.json || fail "what ended the run is not noted: $(cat runs/x/a/status.json)"
for code in 138 143; do starts 1 $code '' "$code 4" --supervise 5 -- lmnet train a; done
echo "ok: --supervise"

# Hosts that do not see the same are refused before anything starts.
printf 'h%s\tLMNet\t1\nh%s\tdata/a\twith 7 bytes\n' 1 1 2 2 >same.txt
sed 's/h2\tdata.*/h2\tdata\/a\twith 8 bytes/' same.txt >other.txt
sed '/h2/d' same.txt >missing.txt
printf 'h2\tthe program\tlmnet is not there\n' >>missing.txt
SEEN=$PWD/same.txt starts 1 0 'mpirun --host' '0 9' --hosts h1,h2 --prefix /opt/mpi --map-by node --bind numa -- lmnet train a
grep -q -- ' --map-by ppr:1:node --bind-to none --prefix /opt/mpi -x ' checked.txt || fail "hosts are asked by: $(cat checked.txt)"
printf 'h2\tlmnet: a.yaml: no such file\n' | cat same.txt - >error.txt
for seen in 'error.txt h2 says lmnet: a.yaml: no such file' 'other.txt h1 has data/a with 7 bytes, h2 has with 8 bytes' 'missing.txt h2 has'; do
  rm -f starts.txt
  SEEN=$PWD/${seen%% *} gives 2 "${seen#* }" --- --hosts h1,h2 -- lmnet train a
  [ ! -e starts.txt ] || fail "started on hosts that differ: $(cat out.txt)"
done
[ -z "$(find . -name '.lmnet-probe*')" ] || fail "a probe is left"
echo "ok: hosts are compared"
