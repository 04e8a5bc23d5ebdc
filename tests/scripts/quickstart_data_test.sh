#!/usr/bin/env bash
# The data that launch/quickstart makes: the same at every call, right, held-out items apart from the others, and in forms
# that lmnet trains on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
binary=${LMNET_BUILD:-build/release}/lmnet

failures=0
# check WHAT COMMAND…
check() {
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else echo "FAILED: $what" && failures=$((failures + 1)); fi
}

make_data() { launch/quickstart_data.py "$work/$1" --items 400 --held-out 40 "${@:2}"; }
differ() { ! diff -rq "$1" "$2" >/dev/null; }

make_data first
make_data second
make_data other --seed 2
check 'the same call gives the same files' diff -r "$work/first" "$work/second"
check 'another seed gives other items' differ "$work/first/held-out.json" "$work/other/held-out.json"

# Reads the files without the help of the program that wrote them.
right_and_apart() {
  python3 - "$work/first" <<'PYTHON'
import glob, gzip, json, re, sys

folder = sys.argv[1]

def combination(question, answer):
    """The sum that a question and its answer stand for; 3 + 4 and 4 + 3 are one."""
    numbers = list(map(int, re.findall(r"\d+", question)))
    steps = [tuple(map(int, step)) for step in re.findall(r"(\d+) [+-] (\d+) = (\d+)", answer)]
    for (a, b, result), sign in zip(steps, re.findall("[+-]", answer), strict=True):
        assert result == (a + b if sign == "+" else a - b), answer
    assert numbers == [steps[0][0], *(step[1] for step in steps)], (question, answer)
    if len(steps) == 2:
        assert steps[1][0] == steps[0][2], answer
        return tuple(sorted(numbers[:2])), numbers[2]
    return (tuple(sorted(numbers)), "+") if "+" in answer else (tuple(numbers), "-")

def alpaca(name):
    records = json.load(open(f"{folder}/{name}.json"))
    assert all(set(record) == {"instruction", "input", "output"} for record in records)
    return {combination(record["instruction"], record["output"]) for record in records}

train, validation, held_out = alpaca("alpaca-train"), alpaca("validation"), alpaca("held-out")
for file in glob.glob(f"{folder}/c4-train.*.json.gz"):
    for line in gzip.open(file, "rt"):
        record = json.loads(line)
        assert set(record) == {"text", "timestamp", "url"}
        for problem in record["text"].split("\n"):
            question, answer = problem.split("? ")
            train.add(combination(question, answer))
assert held_out and validation and not held_out & train and not validation & train and not held_out & validation
assert {"+", "-"} < {key[1] for key in held_out}
seen = {key for key in train if key[1] in ("+", "-")} | {(key[0], "+") for key in train if key[1] not in ("+", "-")}
assert not seen & held_out
PYTHON
}
check 'answers are right, held-out combinations occur in no training file' right_and_apart

# train FORMAT PATH: two updates of a tiny backbone on one rank; validation.json is read as well.
train() {
  "$binary" train configs/quickstart-backbone.yaml run.dir="$work" run.name="$1" "data.train=[{path: \"$2\", format: $1}]" \
    "data.validation[0].path=$work/first/validation.json" model.backbone.hidden_size=32 model.precision=fp32 train.global_batch=2 \
    train.micro_batch=2 'train.stages[0].until=2u' 'train.stages[0].warmup=0u' >"$work/$1.log" 2>&1 || { cat "$work/$1.log" && return 1; }
}
check 'the C4 form trains' train c4 "$work/first/c4-train.*.json.gz"
check 'the Alpaca form trains' train alpaca "$work/first/alpaca-train.json"
whole() { "$binary" inspect "$work/alpaca" --verify >"$work/inspect.log"; }
check 'the run is a checkpoint that is whole' whole
answers() { [ "$("$binary" generate "$work/alpaca" --prompts "$work/first/questions.jsonl" --max-new-tokens 1 --jsonl | wc -l)" -eq 5 ]; }
check 'questions.jsonl is answered' answers

[ "$failures" -eq 0 ]
