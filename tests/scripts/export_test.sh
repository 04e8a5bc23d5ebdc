#!/usr/bin/env bash
# What `lmnet export` writes, read by the real transformers: the same logits and tokens, and bytes that come in again.
# With LMNET_ALL_TESTS also by the transformers before version 5.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
. "$root/tests/scripts/transformers.sh"

for version in 5 ${LMNET_ALL_TESTS:+4}; do
  mkdir "$version"
  (cd "$version" && with_transformers "$version" python3 "$root/tests/python/export_test.py" "$lmnet" "$samples/golden-lmnet")
done
