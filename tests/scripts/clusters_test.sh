#!/usr/bin/env bash
# The command lines of docs/clusters.md work as they stand there; mpirun and Slurm are played by scripts.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
unset "${!SLURM@}" "${!LMNET@}"
mkdir -p bin build
ln -s "$(dirname "$lmnet")" build/release
for part in launch configs docs; do ln -s "$root/$part" $part; done
printf 'node01 slots=2\nnode02 slots=2\n' >hosts
cat >bin/mpirun <<'SCRIPT'
#!/usr/bin/env bash
[[ " $* " != *" check "* ]] || exit 0
echo "played: mpirun $*"
SCRIPT
cat >bin/sbatch <<'SCRIPT'
#!/usr/bin/env bash
[ "$1" != --version ] || exit 0
bash -n "${@: -1}" && grep -q '^#SBATCH --ntasks-per-node=2$' "${@: -1}" && grep -q '^#SBATCH --time=1-00:00:00$' "${@: -1}" && echo 17
SCRIPT
printf '#!/bin/sh\necho "PENDING (Resources)"\n' >bin/squeue
printf '#!/bin/sh\necho "$@" >cancelled.txt\n' >bin/scancel
chmod +x bin/*
export PATH=$work/bin:$PATH

# Every block of shell, each line of it that is no comment.
awk '/^```sh/ { inside = 1; next } /^```/ { inside = 0 } inside' docs/clusters.md >commands.sh
[ "$(wc -l <commands.sh)" -ge 4 ] || fail "no commands in docs/clusters.md"
bash -euo pipefail commands.sh >out.txt 2>&1 || fail "$(cat commands.sh out.txt)"
grep -q 'played: mpirun --hostfile hosts -np 4 --bind-to numa .*lmnet train configs/c4.yaml' out.txt || fail "mpirun: $(cat out.txt)"
grep -qx 17 out.txt || fail "submit prints no number: $(cat out.txt)"
grep -q 'runs/c4 · waiting' out.txt || fail "status: $(cat out.txt)"
[ "$(cat cancelled.txt)" = 17 ] || fail "stop does not take the job out of the queue: $(cat out.txt)"
grep -q 'vertex: 2' runs/c4/slurm/config.yaml || fail "the config has no overrides: $(cat runs/c4/slurm/config.yaml)"
grep -q '^lmnet [0-9]' runs/c4/slurm/version.txt || fail "no version: $(cat runs/c4/slurm/version.txt)"
[ ! -e runs/c4/config.yaml ] || fail "submit has begun the run"

# Keys and options that the page names exist.
{ "$lmnet" help submit && "$lmnet" help status && "$lmnet" help stop && launch/mpirun --help && cat launch/slurm/train.sbatch &&
  echo "--list"; } >known.txt
for word in $(grep -oE '\-\-[a-z]+(-[a-z]+)*' docs/clusters.md | sort -u); do
  grep -qe "$word" known.txt || fail "docs/clusters.md names $word, which is nowhere"
done
echo "ok: docs/clusters.md"

# What is wrong is refused before anything is written.
refused() {
  local text=$1 code=0
  shift
  "$lmnet" "$@" >out.txt 2>&1 || code=$?
  [ "$code" = 2 ] || fail "$*: ended with $code: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "$*: says nothing of \"$text\": $(cat out.txt)"
}
rm -rf runs
refused '--nodes is required' submit configs/c4.yaml
refused 'no such file' submit nothing.yaml --nodes 2
refused 'does not divide' submit configs/c4.yaml --nodes 3 parallel.vertex=2
refused 'run.resume is never' submit configs/c4.yaml --nodes 2 run.resume=never
refused 'is no time' submit configs/c4.yaml --nodes 2 --time soon
refused 'did you mean --ranks-per-node?' submit configs/c4.yaml --nodes 2 --rank-per-node 2
refused 'is not of the form' submit configs/c4.yaml --nodes 2 --sbatch partition
refused 'is no run' status runs/none
refused 'is no run' stop runs/none
[ ! -e runs ] || fail "a refused submission has left $(find runs)"
code=0
env PATH=/nonexistent "$lmnet" submit configs/c4.yaml --nodes 2 >out.txt 2>&1 || code=$?
[ "$code" = 2 ] && grep -q 'there is no Slurm here (sbatch cannot be run)' out.txt && [ ! -e runs ] ||
  fail "without Slurm: $code, $(cat out.txt)"
rm -rf runs
"$lmnet" submit configs/c4.yaml --nodes 2 --dry-run | bash -n || fail "--dry-run prints no script"
[ ! -e runs ] || fail "a dry submission has left $(find runs)"
echo "ok: refusals"
