#!/usr/bin/env bash
# The command lines of docs/ do what they say: every block ```sh is run, on the samples, one page after the other. A block
# under a line <!-- not run: REASON --> needs what a test does not have.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
[ -d "$samples/c4/en" ] || { echo "skipped: no C4 samples in $samples" && exit 77; }
mkdir -p build data
ln -s "$(dirname "$lmnet")" build/release
ln -s "$root/configs" "$root/launch" "$root/docs" .
for data in "$samples"/*/; do ln -s "$data" "data/$(basename "$data")"; done

for page in "$root"/docs/*.md; do
  # The lines of each block that is run, blocks apart by a line with the number of its first one.
  python3 - "$page" >blocks <<'PY'
import re, sys
text = open(sys.argv[1]).read()
for block in re.finditer(r"(<!-- not run: [^\n]*-->\n)?^```sh\n(.*?)^```$", text, re.M | re.S):
    if not block[1]:
        print(f"line {text[:block.start(2)].count(chr(10)) + 1}\0{block[2]}", end="\0")
PY
  count=0
  while IFS= read -r -d '' line && IFS= read -r -d '' block; do
    timeout 300 bash -euo pipefail -c "$block" >out.txt 2>&1 || fail "$(basename "$page"), $line: code $?: $block$(tail -5 out.txt)"
    count=$((count + 1))
  done <blocks
  echo "ok: $(basename "$page"), $count blocks"
done
