#!/usr/bin/env bash
# Data with names, formats and bad records of its own: what is skipped is listed once, the same for every layout and
# however often the run is stopped; what cannot be right is found before anything is written.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
python3 - <<'PY'
import json, random
random.seed(3)
for part in "abc":
    with open(f"data/part-{part}.jsonl", "w") as out:
        for i in range(120):
            line = json.dumps({"ask": {"text": f"{part}{i} is "}, "reply": ["x" * random.randint(1, 30)]})
            out.write((line[:-9] if i % 40 == 13 else line) + "\n")
PY
cat >formats.yaml <<'YAML'
asked: {prompt: "{question}", answer: "{answer}"}
YAML
cat >sources.yaml <<'YAML'
mine: {path: ["data/part-[ab].jsonl", data/part-c.jsonl], format: asked, columns: {question: ask.text, answer: "reply[0]"}}
YAML
train=(train tiny.yaml data.formats=formats.yaml data.registry=sources.yaml 'data.train=[{name: mine}]' data.on_bad_record=skip)

# listed RUN: what it skipped, and the batches it made.
listed() {
  cat "runs/$1/skipped.jsonl"
  field "runs/$1/metrics.jsonl" update batch_hash
}

ranks 1 "${train[@]}" run.name=one >one.log || fail "on one rank: $(tail -3 one.log)"
[ "$(wc -l <runs/one/skipped.jsonl)" = 9 ] || fail "skipped are $(cat runs/one/skipped.jsonl)"
grep -qF '{"file":"data/part-b.jsonl","record":53,"line":54,"reason":"invalid JSON' runs/one/skipped.jsonl ||
  fail "skipped are $(cat runs/one/skipped.jsonl)"
grep -q 'bad records passed over, listed in runs/one/skipped.jsonl' one.log || fail "does not tell: $(cat one.log)"
listed one >one.txt
ranks 4 "${train[@]}" run.name=four parallel.vertex=2 data.readers=0 >four.log || fail "on four: $(tail -3 four.log)"
listed four | diff - one.txt || fail "one and four ranks differ"
for until in 1u 2u 9u 45u; do
  ranks 2 "${train[@]}" run.name=often "train.stages[1].until=$until" >>often.log || fail "until $until: $(tail -3 often.log)"
done
listed often | diff - one.txt || fail "a run that was stopped differs"
echo "ok: what is skipped is the same for all layouts"

# refused CODE TEXT ARGS…: ends with CODE, says TEXT, writes no run.
refused() {
  local expected=$1 text=$2 code=0
  shift 2
  ranks 2 "$@" run.name=refused >out.txt 2>&1 || code=$?
  [ "$code" = "$expected" ] || fail "$*: ended with $code, not $expected: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "$*: says nothing of \"$text\": $(cat out.txt)"
  [ ! -e runs/refused ] || fail "$*: wrote a run folder"
  echo "ok: $(grep '^lmnet: ' out.txt)"
}
refused 3 'data/part-a.jsonl: record 13 (line 14): invalid JSON' "${train[@]}" data.on_bad_record=fail
refused 2 'there is no source "mien", expected mine, did you mean "mine"?' "${train[@]}" 'data.train=[{name: mien}]'
refused 2 'formats.yaml: cannot be read' "${train[@]}" data.formats=no/formats.yaml
cp data/text.jsonl data/text.json.gz
refused 3 'data/text.json.gz: broken gzip stream (it does not start like gzip)' train tiny.yaml 'data.train[0].path=data/text.json.gz'

code=0
ranks 2 "${train[@]}" run.name=limited data.bad_record_limit=4 >out.txt 2>&1 || code=$?
[ "$code" = 3 ] || fail "above the limit: ended with $code: $(cat out.txt)"
grep -q 'data.bad_record_limit is 4' out.txt || fail "does not name the limit: $(cat out.txt)"
ranks 2 "${train[@]}" run.name=limited data.bad_record_limit=20 >out.txt 2>&1 || fail "with a higher limit: $(tail -3 out.txt)"
listed limited | diff - one.txt || fail "a run whose limit was raised differs"
echo "ok: the limit ends the run, which goes on with a higher one"

ranks 1 train tiny.yaml run.name=overlap 'data.validation=[{path: ./data/text.jsonl, format: c4}]' >out.txt || fail "$(tail -3 out.txt)"
grep -q 'warning: data.validation reads 1 of the files that data.train reads' out.txt || fail "no warning: $(cat out.txt)"
