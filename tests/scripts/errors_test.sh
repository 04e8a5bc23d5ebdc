#!/usr/bin/env bash
# What a user can get wrong: the exit code of the page, one sentence with file, line or key and the way out, nothing
# written, all ranks gone within seconds.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config

# refused CODE TEXT RANKS ARGS…: the call ends with CODE within 5 s (plus start-up), says TEXT once, leaves no run.
refused() {
  local expected=$1 text=$2 n=$3 code=0
  shift 3
  timeout 15 mpirun -np "$n" "$lmnet" "$@" >out.txt 2>&1 || code=$?
  [ "$code" = "$expected" ] || fail "$*: ended with $code, not $expected: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "$*: says nothing of \"$text\": $(cat out.txt)"
  [ "$(grep -c '^lmnet: ' out.txt)" = 1 ] || fail "$*: not one sentence: $(cat out.txt)"
  [ ! -e runs ] || fail "$*: wrote $(find runs)"
  echo "ok: $(grep '^lmnet: ' out.txt)"
}

train=(train tiny.yaml)
refused 2 'did you mean train.micro_batch?' 2 "${train[@]}" train.micro_batc=4
refused 2 'train.micro_batch' 2 "${train[@]}" train.micro_batch=many
sed 's/micro_batch: 2/micro_batc: 2/' tiny.yaml >unknown.yaml
refused 2 'unknown.yaml:13' 2 train unknown.yaml
sed 's/global_batch: 8/global_batch: 8\n  global_batch: 9/' tiny.yaml >doubled.yaml
refused 2 'doubled.yaml:13' 2 train doubled.yaml
refused 2 'no-such.yaml' 1 train no-such.yaml
refused 2 'is no topology' 2 "${train[@]}" model.topology=1-x-1
refused 2 'cycle' 2 "${train[@]}" 'model.topology={vertices: {a: {}, b: {}}, edges: [{from: input, to: a}, {from: a, to: b}, {from: b, to: a}, {from: b, to: head}]}'
refused 2 'parallel.vertex 2 does not divide the 3 ranks' 3 "${train[@]}" parallel.vertex=2
refused 2 'mpirun -np 2' 1 "${train[@]}" parallel.vertex=2
refused 2 '--ranks 2' 1 "${train[@]}" parallel.vertex=2 --dry-run
refused 2 'train.global_batch 8' 3 "${train[@]}"
refused 2 'model.classes is 3' 1 "${train[@]}" model.classes=3 --dry-run
refused 2 'the tokenizer bytes has 258 ids' 1 "${train[@]}" model.backbone.vocab_size=100 --dry-run
refused 2 'not built yet' 1 "${train[@]}" 'model.adapters=[lora]'
refused 3 'data.train[0].path: data/no-such.jsonl: there is no such file' 2 "${train[@]}" 'data.train[0].path=data/no-such.jsonl'
refused 2 'did you mean train?' 1 trian tiny.yaml
refused 2 'this is a config, not a sweep' 1 sweep tiny.yaml
refused 2 'not built yet' 1 serve tiny.yaml
refused 2 'did you mean --ranks?' 1 train tiny.yaml --rnks 3
refused 2 'see `lmnet help`' 1 -x
[ "$("$lmnet" help generate | grep -c 'Usage: lmnet generate \[OPTIONS\]')" = 1 ] || fail "help generate: $("$lmnet" help generate | head -2)"

# Ranks that a launcher started but that do not see each other would each train by itself.
for variable in SLURM_STEP_NUM_TASKS=2 WORLD_SIZE=2 PMI_SIZE=2; do
  code=0
  env "$variable" "$lmnet" "${train[@]}" >out.txt 2>&1 || code=$?
  [ "$code" = 4 ] || fail "alone with $variable: ended with $code: $(cat out.txt)"
  grep -q '2 ranks, but MPI sees only one' out.txt || fail "alone with $variable: $(cat out.txt)"
  [ ! -e runs ] || fail "alone with $variable: wrote a run folder"
done

# A full disk is told.
if [ -e /dev/full ]; then
  for words in 'help config' 'inspect tiny.yaml' 'tokenize bytes data/text.jsonl'; do
    code=0
    # shellcheck disable=SC2086
    "$lmnet" $words >/dev/full 2>out.txt || code=$?
    [ "$code" = 3 ] || fail "$words on a full disk ended with $code: $(cat out.txt)"
    grep -q 'No space left' out.txt || fail "$words on a full disk says: $(cat out.txt)"
  done
fi

# Without Slurm nothing is written for it.
code=0
PATH=/nowhere "$lmnet" submit tiny.yaml --nodes 2 >out.txt 2>&1 || code=$?
[ "$code" = 2 ] && grep -q '^lmnet: there is no Slurm here .*launch/mpirun' out.txt || fail "submit without Slurm: $code, $(cat out.txt)"
[ ! -e runs ] || fail "submit without Slurm wrote $(find runs)"

# Broken data, named by file and record.
gzip -c data/text.jsonl | head -c 3000 >data/broken.json.gz
refused 3 'data/broken.json.gz' 2 "${train[@]}" 'data.train[0].path=data/broken.json.gz'
sed '40s/.*/{"text": 3}/' data/text.jsonl >data/bad.jsonl
refused 3 'record 39' 2 "${train[@]}" 'data.train[0].path=data/bad.jsonl'

# Damaged checkpoints: an explicit path ends with 3; auto names it and takes the one before, 3 if there is none.
rm -rf runs
ranks 2 "${train[@]}" run.name=good >/dev/null 2>&1
# A run that is done is done, whatever another start of it was refused for.
code=0
"$lmnet" train tiny.yaml run.name=good train.clip=2 >out.txt 2>&1 || code=$?
"$lmnet" status runs/good >out.txt || fail "status: $(cat out.txt)"
[ "$code" = 2 ] && grep -q 'done · update 60/60' out.txt && ! grep -q 'train.clip' out.txt || fail "a refused start ended with $code; status: $(cat out.txt)"
# Of another it is told until the run goes on.
sed -i 's/"state": "done"/"state": "stopped"/' runs/good/status.json
code=0
"$lmnet" train tiny.yaml run.name=good train.clip=2 >out.txt 2>&1 || code=$?
"$lmnet" status runs/good >out.txt || fail "status: $(cat out.txt)"
[ "$code" = 2 ] && grep -q 'train.clip: .* (code 2)' out.txt || fail "a refused start ended with $code; status: $(cat out.txt)"
"$lmnet" train tiny.yaml run.name=good >out.txt 2>&1 || fail "after a refused start: $(tail -3 out.txt)"
"$lmnet" status runs/good >out.txt || fail "status: $(cat out.txt)"
grep -q 'done · update 60/60' out.txt && ! grep -q 'train.clip' out.txt || fail "done, after a refused start: $(cat out.txt)"
last=$(find runs/good/checkpoints -maxdepth 1 -name 'step-*' | sort | tail -1)
printf 'x' | dd of="$(find "$last" -name 'edges.*.h5' | head -1)" bs=1 seek=3000 conv=notrunc 2>/dev/null
code=0
"$lmnet" inspect "$last" --verify >out.txt 2>&1 || code=$?
[ "$code" = 3 ] || fail "inspect --verify of a damaged checkpoint ended with $code"
grep -q 'edges' out.txt || fail "inspect --verify does not name the file: $(cat out.txt)"
code=0
"$lmnet" train tiny.yaml run.name=other "run.resume=$last" >out.txt 2>&1 || code=$?
[ "$code" = 3 ] || fail "an explicit damaged checkpoint ended with $code: $(cat out.txt)"
[ ! -e runs/other ] || fail "a refused resume wrote a run folder"
ranks 2 "${train[@]}" run.name=good >out.txt 2>&1 || fail "auto did not take the one before: $(cat out.txt)"
grep -q 'damaged checkpoint passed over' out.txt || fail "the damaged checkpoint is not named"
grep -q 'resumed from' out.txt || fail "not resumed from the one before"
for file in runs/good/checkpoints/step-*/edges.*.h5; do printf 'x' | dd of="$file" bs=1 seek=3000 conv=notrunc 2>/dev/null; done
code=0
ranks 2 "${train[@]}" run.name=good >out.txt 2>&1 || code=$?
[ "$code" = 3 ] || fail "a run whose checkpoints are all damaged ended with $code: $(cat out.txt)"

# Another config under the same name is refused with the difference.
code=0
ranks 2 "${train[@]}" run.name=good train.clip=2 >out.txt 2>&1 || code=$?
[ "$code" = 2 ] || fail "a changed config ended with $code"
grep -q 'train.clip' out.txt || fail "the difference is not shown: $(cat out.txt)"
grep -q '"update": 60' runs/good/status.json || fail "a refused config moved the run: $(cat runs/good/status.json)"

# Numbers that are not finite stop all ranks before a weight changes.
rm -rf runs
code=0
ranks 2 "${train[@]}" run.name=wild 'train.stages[0].lr=1e30' train.clip=0 parallel.vertex=2 >out.txt 2>&1 || code=$?
[ "$code" = 1 ] || fail "a diverging run ended with $code: $(tail -3 out.txt)"
grep -q 'not finite' out.txt || fail "does not say what is wrong: $(tail -3 out.txt)"
grep -q '"failed"' runs/wild/status.json || fail "status.json does not say failed"
