#!/usr/bin/env bash
# launch/setup on machines that do not suit it: each one gets one clear sentence. Runs on copies with tiny wheels of its
# own and stand-ins for the package manager, so that nothing is downloaded or installed.
set -euo pipefail
source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
chmod 755 "$work"
trap '{ umount "$work/copy/.deps" || true; } 2>/dev/null; rm -rf "$work"' EXIT
unset CMAKE_PREFIX_PATH "${!PIP_@}"
export PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels PIP_CONFIG_FILE=/dev/null
export LMNET_OS_RELEASE=$work/debian12 PATH=$work/bin:$PATH CUDA_PATH=$work/no_toolkit

# stand_in NAME TEXT: a program that shadows the machine's own.
stand_in() {
  printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

# A machine that has everything except LibTorch, and a copy of the scripts whose wheels are tiny.
fresh_copy() {
  rm -rf "${work:?}/copy" "${work:?}/bin"
  mkdir -p "$work/copy/launch" "$work/bin"
  cp "$source_root/launch/setup" "$work/copy/launch/"
  cp "$work"/requirements*.txt "$work/copy/launch/"
  # shellcheck disable=SC2016
  stand_in dpkg-query 'printf "%s:installed\n" "$@"'
}

make_wheels() {
  printf 'ID=debian\nVERSION_ID=12\nPRETTY_NAME="Debian 12"\n' >"$work/debian12"
  python3 - "$work" <<'PYTHON'
import hashlib, os, sys, zipfile
work = sys.argv[1]
version = sys.version_info[:2] if (3, 10) <= sys.version_info[:2] <= (3, 14) else (3, 11)
python = "cp%d%d" % version
os.makedirs(f"{work}/wheels")
pins = {"requirements": [], "requirements-cuda": [], "requirements-parquet": []}
for name, version, tag, files in [
    ("torch", "2.11.0", f"{python}-{python}-manylinux_2_28_x86_64", ["torch/include/ATen/ATen.h", "torch/lib/libtorch_cpu.so", "torch/version.py"]),
    ("nvidia_cuda_runtime", "13.0.96", "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64", ["nvidia/cu13/lib/libcudart.so.13"]),
    ("pyarrow", "26.0.1", "cp311-cp311-manylinux_2_28_x86_64", ["pyarrow/libparquet.so.2600", "pyarrow/include/arrow/api.h"]),
    ("nvidia_cufile", "1.15.1.6", "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64", ["nvidia/cu13/lib/libcufile.so.0"]),
]:
    path = f"{work}/wheels/{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            wheel.writestr(file, "a stand-in\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
    list = {"nvidia_cufile": "requirements-cuda", "pyarrow": "requirements-parquet"}.get(name, "requirements")
    pins[list].append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
for list, lines in pins.items():
    open(f"{work}/{list}.txt", "w").writelines(lines)
PYTHON
}

failures=0
# expect CODE PATTERN WHAT [COMMAND…]: runs launch/setup of the copy (under COMMAND) and looks at its code and last line.
expect() {
  local wanted=$1 pattern=$2 what=$3 code=0 output
  shift 3
  output=$("$@" "$work/copy/launch/setup" 2>&1 </dev/null) || code=$?
  if [ "$code" -eq "$wanted" ] && tail -n 1 <<<"$output" | grep -qE "$pattern"; then
    echo "ok: $what"
  else
    printf 'FAILED: %s (exit %d, wanted %d; last line should match "%s")\n%s\n' "$what" "$code" "$wanted" "$pattern" "$output"
    failures=$((failures + 1))
  fi
}

# check WHAT COMMAND…
check() {
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what" && failures=$((failures + 1)); fi
}

make_wheels
ready() { [ -e "$work/copy/.deps/libtorch-2.11.0/torch/lib/libtorch_cpu.so" ] && [ -e "$work/copy/.deps/libtorch-2.11.0/nvidia/cu13/lib/libcudart.so.13" ]; }
arrow() { [ -e "$work/copy/.deps/arrow-26.0.1/pyarrow/libparquet.so.2600" ]; }
nothing_half() { [ -z "$(find "$work/copy/.deps" -mindepth 1 -maxdepth 1 ! -name 'setup.*' ! -name libtorch-2.11.0 ! -name arrow-26.0.1)" ]; }

fresh_copy
expect 0 'unpacking' 'LibTorch is unpacked'
check 'LibTorch and Arrow lie in .deps and nothing else does' eval 'ready && arrow && nothing_half'
begin=$SECONDS
expect 0 '^$' 'a second call is silent'
if [ -e "$source_root/.deps/libtorch-2.11.0/requirements.txt" ]; then "$source_root/launch/setup" >/dev/null; fi
check 'a second call is quick' test $((SECONDS - begin)) -le 3

# A toolkit that comes later.
for_cuda() { [ -e "$work/copy/.deps/libtorch-2.11.0/nvidia/cu13/lib/libcufile.so.0" ]; }
check 'without a toolkit nothing is brought for it' eval '! for_cuda'
mkdir -p "$work/toolkit/include"
echo '#define CUDA_VERSION 13000' >"$work/toolkit/include/cuda.h"
# shellcheck disable=SC2016
stand_in unzip 'kill -KILL $PPID'
expect 137 '' 'killed while unpacking the libraries for CUDA' env CUDA_PATH="$work/toolkit"
rm "$work/bin/unzip"
expect 0 'Libraries for CUDA: unpacking' 'the next call mends that' env CUDA_PATH="$work/toolkit"
check 'what a toolkit lacks lies beside LibTorch' eval 'for_cuda && ready && nothing_half'
expect 0 '^$' 'the next call is silent' env CUDA_PATH="$work/toolkit"

fresh_copy
# shellcheck disable=SC2016
stand_in unzip 'kill -KILL $PPID'
expect 137 '' 'killed while unpacking'
check 'a killed call leaves no LibTorch' eval '! ready'
rm "$work/bin/unzip"
expect 0 'unpacking' 'the next call mends it'
check 'all is there after mending' eval 'ready && nothing_half'

fresh_copy
# shellcheck disable=SC2016
stand_in unzip 'case "$*" in *pyarrow*) kill -KILL $PPID ;; esac; exec /usr/bin/unzip "$@"'
expect 137 '' 'killed while unpacking Arrow'
check 'that leaves LibTorch and no Arrow' eval 'ready && ! arrow'
rm "$work/bin/unzip"
expect 0 'Arrow 26.0.1: unpacking' 'the next call mends that too'
check 'Arrow is there after mending' eval 'ready && arrow && nothing_half'

fresh_copy
sed -i 's/sha256:..../sha256:0000/' "$work/copy/launch/requirements.txt"
expect 1 'wrong checksum' 'a wheel that is not the pinned one'
check 'nothing of it is installed' eval '! ready'

fresh_copy
expect 1 'no network' 'a package index that cannot be reached' \
  env -u PIP_NO_INDEX -u PIP_FIND_LINKS PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_RETRIES=0 PIP_TIMEOUT=2 no_proxy=127.0.0.1

fresh_copy
mkdir -p "$work/given/include/ATen"
touch "$work/given/include/ATen/ATen.h"
for tool in cmake ninja c++ mpirun; do stand_in $tool :; done
expect 0 '^$' 'a LibTorch of the user is taken' env CMAKE_PREFIX_PATH="/nowhere:$work/given"
check 'nothing is downloaded then' test ! -e "$work/copy/.deps"

fresh_copy
if mkdir "$work/copy/.deps" && mount -t tmpfs -o size=1m tmpfs "$work/copy/.deps" 2>/dev/null; then
  expect 1 'disk full' 'a disk that is too small'
  umount "$work/copy/.deps"
fi
stand_in unzip 'echo "write error (disk full?)" && exit 50'
expect 1 'disk full' 'a disk that fills while unpacking'

fresh_copy
printf 'ID=haiku\nVERSION_ID=5\nPRETTY_NAME="Haiku R5"\n' >"$work/haiku"
for tool in bash dirname sed uname; do ln -s "$(command -v $tool)" "$work/bin/"; done
expect 1 'Haiku R5 is not supported .*missing: cmake' 'an unsupported distribution without the tools' \
  env LMNET_OS_RELEASE="$work/haiku" PATH="$work/bin"
printf 'ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04"\n' >"$work/ubuntu22"
ln -s "$(command -v sort)" "$work/bin/"
expect 1 'Ubuntu 22.04 is not supported' 'a distribution that is too old' env LMNET_OS_RELEASE="$work/ubuntu22" PATH="$work/bin"

fresh_copy
stand_in uname 'echo riscv64'
expect 1 'riscv64 is not supported' 'another processor'

fresh_copy
stand_in dpkg-query :
stand_in sudo 'exec "$@"' # for those who are not root
stand_in dpkg :
stand_in apt-get 'echo "E: Temporary failure resolving deb.debian.org"; exit 100'
expect 1 'no network' 'no network for apt'
stand_in apt-get 'echo "E: You do not have enough free space in /var/cache/apt/archives/."; exit 100'
expect 1 'disk full' 'no room for apt'
stand_in sudo 'exit 1'
if [ "$EUID" -ne 0 ]; then
  expect 1 'ask your administrator for: apt-get install .* cmake' 'neither root nor sudo'
elif command -v setpriv >/dev/null; then
  rm -rf "$work/copy/.deps"
  chmod 777 "$work/copy"
  expect 1 'ask your administrator for: apt-get install .* cmake' 'neither root nor sudo' setpriv --reuid=65534 --clear-groups
fi

[ "$failures" -eq 0 ]
