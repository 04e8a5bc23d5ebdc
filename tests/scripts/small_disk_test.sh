#!/usr/bin/env bash
# A disk that runs full, turns read-only or has no room for one rank's files: the run goes on, the checkpoint before stays whole, and
# the next save succeeds once there is room. On a small tmpfs in a mount namespace of its own (skipped where there is none).
# labels: serial slow
if [ -z "${LMNET_SMALL_DISK:-}" ]; then
  LMNET_SMALL_DISK=$(mktemp -d)
  export LMNET_SMALL_DISK
  user=''
  [ "$(id -u)" = 0 ] || user=--map-root-user
  # shellcheck disable=SC2086
  if ! unshare $user --mount --propagation private mount -t tmpfs test "$LMNET_SMALL_DISK" 2>/dev/null; then
    rmdir "$LMNET_SMALL_DISK"
    echo "skipped: no mount namespaces here"
    exit 77
  fi
  # shellcheck disable=SC2086
  unshare $user --mount --propagation private "$0"
  code=$?
  rmdir "$LMNET_SMALL_DISK"
  exit $code
fi
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
disk=$LMNET_SMALL_DISK
mount -t tmpfs -o size=4m small "$disk"
make_config

# fill KIB: leaves so much room. The disk has no files but these.
fill() {
  rm -f "$disk/filling"
  # Somebody may take room between the two.
  until fallocate -l "$(($(stat -f -c '%a * %S / 1024' "$disk") - $1))KiB" "$disk/filling" 2>/dev/null; do sleep 0.01; done
}

# Every write of a save in turn.
LMNET_SMALL_DISK=$disk "${LMNET_BUILD:-$root/build/release}/trainer_tests" --gtest_filter='SmallDisk.*' --gtest_brief=1 ||
  fail "a write on a full disk"

# begin NAME OVERRIDES…: a run of two ranks in the background whose checkpoints lie on the small disk.
begin() {
  rm -rf runs "$1.log"
  find "${disk:?}" -mindepth 1 -delete
  mkdir -p "runs/$1"
  ln -s "$disk" "runs/$1/checkpoints"
  ranks 2 train tiny.yaml run.name="$1" checkpoint.every=5u train.micro_batch=1 "${@:2}" >"$1.log" 2>&1 &
  job=$!
}

# until_said TEXT LOG
until_said() {
  for _ in $(seq 1 600); do
    grep -qE -- "$1" "$2" && return
    kill -0 "$job" 2>/dev/null || break
    sleep 0.05
  done
  grep -qE -- "$1" "$2" || fail "never said \"$1\": $(tail -5 "$2")"
}

# ends_well LOG: the run went on to its end, all that is left is whole, and its last checkpoint is there.
ends_well() {
  wait "$job" || fail "the run ended: $(tail -5 "$1")"
  local checkpoint
  for checkpoint in "$disk"/step-*; do "$lmnet" inspect "$checkpoint" --verify >/dev/null || fail "$checkpoint is not whole"; done
  [ -e "$disk/step-000000060" ] || fail "the last checkpoint is missing: $(ls -A "$disk")"
  [ -z "$(find "$disk" -name '.*.tmp')" ] || fail "leftovers: $(ls -A "$disk")"
}

# No room when a save begins.
begin full
until_said 'saved .*step-000000005' full.log
fill 16
until_said 'warning: the checkpoint of update .* was not saved: .*GiB are free' full.log
"$lmnet" inspect runs/full --verify >/dev/null || fail "the checkpoint before is not whole"
rm "$disk/filling"
ends_well full.log
echo "ok: a full disk"

# The room goes while the files are written, of each kind in turn.
for room in 0 24 64; do
  LMNET_FAULT='rank=1 phase=save-snapshot update=10 action=sleep seconds=2' begin during
  until_said 'LMNET_FAULT: rank 1' during.log
  fill "$room"
  until_said 'warning: the checkpoint of update 10 was not saved: .*No space left on device' during.log
  "$lmnet" inspect "$disk/step-000000005" --verify >/dev/null || fail "the checkpoint before is not whole"
  rm "$disk/filling"
  ends_well during.log
  echo "ok: a disk with $room KiB of room"
done

# Read-only for a while.
begin locked
until_said 'saved .*step-000000005' locked.log
# A mount with a file that is being written is busy.
for _ in $(seq 1 1000); do
  ! mount -o remount,ro "$disk" 2>/dev/null || break
  sleep 0.01
done
until_said 'warning: the checkpoint of update .* was not saved: .*Read-only file system' locked.log
"$lmnet" inspect "$disk/step-000000005" --verify >/dev/null || fail "the checkpoint before is not whole"
mount -o remount,rw "$disk"
ends_well locked.log
echo "ok: a read-only disk"

# One rank may not write as much as its files take (as with a quota).
LMNET_FAULT='rank=0 phase=step update=3 action=sleep seconds=3' begin limited checkpoint.every=30u
until_said 'LMNET_FAULT: rank 0' limited.log
for process in /proc/[0-9]*; do
  if [ "$(readlink "$process/cwd")" = "$work" ] && [ "$(cat "$process/comm")" = lmnet ] &&
    tr '\0' '\n' <"$process/environ" | grep -qx OMPI_COMM_WORLD_RANK=1; then
    limited=${process#/proc/}
  fi
done
prlimit --pid "$limited" --fsize=8192:unlimited
until_said 'warning: the checkpoint of update .* was not saved: .*File too large' limited.log
prlimit --pid "$limited" --fsize=unlimited
ends_well limited.log
echo "ok: no room for one rank's files"

# checkpoint.on_failure: stop
begin stop checkpoint.on_failure=stop
until_said 'saved .*step-000000005' stop.log
fill 16
code=0
wait "$job" || code=$?
[ "$code" = 3 ] || fail "a failed save ended the run with $code: $(tail -3 stop.log)"
"$lmnet" inspect "$disk/step-000000005" --verify >/dev/null || fail "the checkpoint before is not whole"
echo "ok: a failed save stops the run where that is asked for"
