# shellcheck shell=bash
# Sourced by the script tests that compare with Hugging Face's transformers, after support.sh.
. "$root/tests/scripts/packages.sh"

# with_transformers MAJOR COMMAND…: runs COMMAND with PyTorch out of LibTorch's wheel and transformers MAJOR out of PyPI,
# which is installed into .deps/ where it is not yet.
with_transformers() {
  local requirements=$root/tests/python/transformers-$1.txt packages torch
  shift
  torch=$root/.deps/libtorch-$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$root/launch/requirements.txt")
  [ -e "$torch/torch/__init__.py" ] || skip "there is no PyTorch in $torch: launch/setup puts it there"
  add_stubs() { mkdir "$1/stubs" && python3 "$root/tests/python/stub_cuda.py" "$torch/torch/lib" "$1/stubs"; }
  install_packages "$requirements" "$(cat "$requirements" "$root/launch/requirements.txt" | sha256sum | cut -c1-12)" add_stubs
  PYTHONPATH=$packages:$torch:$root/tests/python LD_LIBRARY_PATH=$packages/stubs HF_HUB_OFFLINE=1 HF_HOME=$work/huggingface \
    HF_HUB_DISABLE_PROGRESS_BARS=1 "$@"
}
