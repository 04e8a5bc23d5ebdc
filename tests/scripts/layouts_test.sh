#!/usr/bin/env bash
# The order of the data, and with it batch_hash, is the same for all layouts; losses agree; a run that was begun on one
# layout goes on under another.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config

for layout in "1 1" "2 1" "2 2" "4 1" "4 2" "4 4"; do
  read -r n vp <<<"$layout"
  ranks "$n" train tiny.yaml "parallel.vertex=$vp" "run.name=on-$n-$vp" "train.stages[1].until=5u" >"on-$n-$vp.log" 2>&1 ||
    fail "$n ranks, vertex $vp: $(tail -3 "on-$n-$vp.log")"
  field "runs/on-$n-$vp/metrics.jsonl" update batch_hash >"hash-$n-$vp.txt"
  field "runs/on-$n-$vp/metrics.jsonl" loss >"loss-$n-$vp.txt"
  diff hash-1-1.txt "hash-$n-$vp.txt" || fail "batch_hash of $n ranks, vertex $vp differs"
  paste loss-1-1.txt "loss-$n-$vp.txt" | awk '{ if (($1 - $2) / $1 > 1e-4 || ($2 - $1) / $1 > 1e-4) exit 1 }' ||
    fail "losses of $n ranks, vertex $vp differ"
done
[ "$(wc -l <hash-1-1.txt)" = 20 ] || fail "expected 20 updates"

# Go on with another DP × VP: the same batches and losses as the run that never changed. A schedule would depend on the
# stage's length, which the first of them did not know.
constant="train.stages[1].schedule=constant"
ranks 1 train tiny.yaml run.name=elastic "$constant" "train.stages[1].until=5u" >/dev/null
ranks 4 train tiny.yaml run.name=elastic "$constant" parallel.vertex=2 "train.stages[1].until=15u" >elastic.log 2>&1 ||
  fail "$(tail -3 elastic.log)"
grep -q "changed on resume: parallel.vertex" elastic.log || fail "the change of layout is not shown"
ranks 2 train tiny.yaml run.name=straight "$constant" "train.stages[1].until=15u" >/dev/null
diff <(field runs/elastic/metrics.jsonl update batch_hash) <(field runs/straight/metrics.jsonl update batch_hash) ||
  fail "data order changed with the layout"
paste <(field runs/elastic/metrics.jsonl loss) <(field runs/straight/metrics.jsonl loss) |
  awk '{ if (($1 - $2) / $2 > 1e-4 || ($2 - $1) / $2 > 1e-4) exit 1 }' || fail "losses changed with the layout"
