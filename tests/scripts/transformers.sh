# shellcheck shell=bash
# Sourced by the script tests that compare with Hugging Face's transformers, after support.sh.

# skip REASON: the test counts as skipped.
skip() {
  echo "skipped: $1"
  exit 77
}

# with_transformers MAJOR COMMAND…: runs COMMAND with PyTorch out of LibTorch's wheel and transformers MAJOR out of PyPI,
# which is installed into .deps/ where it is not yet.
with_transformers() {
  local requirements=$root/tests/python/transformers-$1.txt packages torch log
  shift
  packages=$root/.deps/$(basename "$requirements" .txt)-$(cat "$requirements" "$root/launch/requirements.txt" | sha256sum | cut -c1-12)
  torch=$root/.deps/libtorch-$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$root/launch/requirements.txt")
  [ -e "$torch/torch/__init__.py" ] || skip "there is no PyTorch in $torch: launch/setup puts it there"
  if [ ! -e "$packages" ]; then
    log=$work/pip.log
    rm -rf "$packages.tmp"
    mkdir -p "$packages.tmp/stubs"
    if ! python3 -m pip --disable-pip-version-check install --quiet --no-deps --only-binary=:all: --no-compile \
      --requirement "$requirements" --target "$packages.tmp" >"$log" 2>&1; then
      cat "$log"
      rm -rf "$packages.tmp"
      grep -qiE 'resol|connect|network|timed out|max retries|proxy|ssl|from versions: none' "$log" &&
        skip "PyPI cannot be reached, from which this test takes transformers"
      fail "pip cannot install $requirements"
    fi
    python3 "$root/tests/python/stub_cuda.py" "$torch/torch/lib" "$packages.tmp/stubs"
    mv "$packages.tmp" "$packages"
  fi
  PYTHONPATH=$packages:$torch:$root/tests/python LD_LIBRARY_PATH=$packages/stubs HF_HUB_OFFLINE=1 HF_HOME=$work/huggingface \
    HF_HUB_DISABLE_PROGRESS_BARS=1 "$@"
}
