# shellcheck shell=bash
# Sourced by the script tests that compare with Python packages, after support.sh.

# skip REASON: the test counts as skipped.
skip() {
  echo "skipped: $1"
  exit 77
}

# install_packages REQUIREMENTS KEY [COMMAND…]: sets `packages` to a folder in .deps/ with what REQUIREMENTS pin, which is
# installed from PyPI where it is not there yet for that KEY; COMMAND FOLDER finishes a fresh one.
install_packages() {
  local requirements=$1 log=$work/pip.log
  packages=$root/.deps/$(basename "$requirements" .txt)-$2
  shift 2
  [ ! -e "$packages" ] || return 0
  rm -rf "$packages.tmp"
  mkdir -p "$packages.tmp"
  if ! python3 -m pip --disable-pip-version-check install --quiet --no-deps --only-binary=:all: --no-compile \
    --requirement "$requirements" --target "$packages.tmp" >"$log" 2>&1; then
    cat "$log"
    rm -rf "$packages.tmp"
    grep -qiE 'resol|connect|network|timed out|max retries|proxy|ssl|from versions: none' "$log" &&
      skip "PyPI cannot be reached, from which this test takes what $(basename "$requirements") names"
    fail "pip cannot install $requirements"
  fi
  [ $# -eq 0 ] || "$@" "$packages.tmp"
  mv "$packages.tmp" "$packages"
}
