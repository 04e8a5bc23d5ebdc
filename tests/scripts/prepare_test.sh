#!/usr/bin/env bash
# lmnet prepare: the same shards whoever makes them and however often it is killed; what trains on them; what is refused.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config

# refused CODE TEXT ARGS…: this code and one sentence that has TEXT.
refused() {
  local wanted=$1 text=$2 code=0
  shift 2
  "$lmnet" "$@" >out.txt 2>&1 || code=$?
  [ "$code" = "$wanted" ] || fail "$*: ended with $code, not $wanted: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "$*: says nothing of \"$text\": $(cat out.txt)"
}
sums() { (cd "$1" && sha256sum -- *.h5 index.json); }

# Enough text for a kill to fall into.
mkdir raw
python3 - <<'PY'
import gzip, json, random
random.seed(5)
words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 9))) for _ in range(2000)]
text = [json.dumps({"text": " ".join(random.choices(words, k=random.randint(20, 400)))}) + "\n" for _ in range(6000)]
for shard in range(8):
    random.shuffle(text)
    with gzip.open(f"raw/c4-{shard}.json.gz", "wt", compresslevel=1) as out:
        out.writelines(text[:5000])
PY
prepare=("$lmnet" prepare 'raw/*.json.gz')
words=(--format c4 --tokenizer bytes)
"${prepare[@]}" whole "${words[@]}" --threads 2 >out.txt
grep -q '8 files → 8 shards of .* · 40000 documents' out.txt || fail "$(cat out.txt)"
grep -q '{path: whole, format: prepared, weight: 1}' out.txt || fail "does not say how to train on it: $(cat out.txt)"

for strike in 0.1 0.2 0.3; do
  "${prepare[@]}" killed "${words[@]}" --threads 1 >/dev/null &
  job=$!
  sleep "$strike"
  kill -9 $job 2>/dev/null || true
  wait $job 2>/dev/null || true
done
if [ -e killed/index.json ] && grep -q '"complete": false' killed/index.json; then
  refused 3 'is not prepared to its end; call lmnet prepare again' bench tiny.yaml --what load 'data.train=[{path: killed, format: prepared}]'
fi
"${prepare[@]}" killed "${words[@]}" >/dev/null
ranks 2 prepare 'raw/*.json.gz' ranks "${words[@]}" --threads 1 >/dev/null
for other in killed ranks; do
  [ "$(sums whole)" = "$(sums $other)" ] || fail "$other/ holds other shards"
done
"$lmnet" inspect whole --verify --json >out.txt
grep -q '"documents":40000' out.txt || fail "inspect: $(cut -c1-300 out.txt)"
echo "ok: the same shards after kills and on two ranks"

# What trains on it, sees it in one order on any layout; the words of a config are prepared source by source.
"$lmnet" prepare tiny.yaml tokens >out.txt
train=(train tiny.yaml data.train='[{path: tokens, format: prepared}]' train.stages[1].until=2u)
"$lmnet" "${train[@]}" run.name=one >/dev/null
ranks 2 "${train[@]}" run.name=two parallel.vertex=1 train.micro_batch=1 >/dev/null
[ "$(field runs/one/metrics.jsonl update batch_hash)" = "$(field runs/two/metrics.jsonl update batch_hash)" ] ||
  fail "another order on two ranks"
[ -n "$(field runs/one/metrics.jsonl update)" ] || fail "no updates"
echo "ok: training"

cp -r whole other && sed -i 's/"hash": "[^"]*"/"hash": "other"/' other/index.json
refused 3 'was prepared with another tokenizer' train tiny.yaml run.name=no 'data.train=[{path: other, format: prepared}]'
refused 2 'holds prepared data, which is of the format prepared, not c4' train tiny.yaml run.name=no 'data.train=[{path: whole, format: c4}]'
refused 3 'takes one folder that lmnet prepare has written' train tiny.yaml run.name=no 'data.train=[{path: raw, format: prepared}]'
refused 2 'needs --format' prepare raw out
refused 2 'needs --tokenizer' prepare raw out --format c4
refused 2 'is prepared already' prepare whole out --format prepared --tokenizer bytes
refused 2 'did you mean "alpaca"' prepare raw out --format alpacca --tokenizer bytes
refused 3 'holds data prepared from other files' prepare raw/c4-1.json.gz whole "${words[@]}"
refused 3 'is not empty' prepare raw/c4-1.json.gz raw "${words[@]}"
printf '{"text": "good"}\n{"no": "text"}\n{"text": "fine"}\n' >bad.jsonl
refused 3 'bad.jsonl: record 1 (line 2)' prepare bad.jsonl bad "${words[@]}"
head -c 2000 raw/c4-1.json.gz >raw/c4-9.json.gz
refused 3 'c4-9.json.gz' prepare raw/c4-9.json.gz cut "${words[@]}"
[ ! -e runs/no ] || fail "a refused run left its folder"
echo "ok: refusals"

# Bad records may be passed over, and are listed.
"$lmnet" prepare tiny.yaml skipping 'data.train=[{path: bad.jsonl, format: c4}]' data.on_bad_record=skip >/dev/null
grep -q '"record":1,"line":2' skipping/skipped.jsonl || fail "skipped.jsonl: $(cat skipping/skipped.jsonl)"
refused 3 'bad_record_limit' prepare tiny.yaml less 'data.train=[{path: bad.jsonl, format: c4}]' data.on_bad_record=skip data.bad_record_limit=0
"$lmnet" prepare bad.jsonl none "${words[@]}" --list >/dev/null 2>&1 && fail "--list takes a bad record"
"$lmnet" prepare raw/c4-2.json.gz none "${words[@]}" --list >out.txt
grep -q 'will go to none' out.txt && [ ! -e none ] || fail "--list: $(cat out.txt)"
echo '{"instruction": "Say hi.", "input": "", "output": "hi"}' >chat.jsonl
"$lmnet" inspect chat.jsonl --format alpaca --tokenizer bytes >out.txt
grep -q '### Response:»hi' out.txt || fail "the masked part is not marked: $(cat out.txt)"
echo "ok: bad records, --list, inspect"
