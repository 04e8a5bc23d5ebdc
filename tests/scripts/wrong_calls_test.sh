#!/usr/bin/env bash
# Every verb called wrong in ten typical ways (wrong_calls.txt): the code of the page, one sentence, the right hint, and
# nothing is written.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
mkdir backbone
echo '{"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
  "num_key_value_heads": 1, "vocab_size": 258, "tie_word_embeddings": true}' >backbone/config.json
echo '[{"instruction": "a", "input": "", "output": "b"}]' >answers.json
printf 'base: tiny.yaml\nseeds: 2\n' >sweep.yaml
printf 'name: run\nbase: tiny.yaml\nseeds: 2\n' >named.yaml
mkdir -p swept/sweep
"$lmnet" train tiny.yaml run.dir=. run.name=run >out.txt || fail "the run: $(tail -3 out.txt)"
rm out.txt
find . -mindepth 1 ! -name files | sort >files

calls=() hints=()
while IFS= read -r line; do
  [[ $line == *' => '* && $line != '#'* ]] || continue
  calls+=("${line%% => *}")
  hints+=("${line#* => }")
done <"$root/tests/scripts/wrong_calls.txt"
[ "${#calls[@]}" -ge 140 ] || fail "only ${#calls[@]} calls are in the table"

# Each call leaves its number, code and words in a folder of its own, two calls at a time.
mkdir ../"$(basename "$work")".calls
results=$work.calls
trap 'rm -rf "$work" "$results"' EXIT
export lmnet results
for number in "${!calls[@]}"; do printf '%s\0%s\0' "$number" "${calls[$number]}"; done |
  xargs -0 -n 2 -P 2 bash -c '
    code=0
    eval "timeout 20 \"\$lmnet\" $1" </dev/null >"$results/$0" 2>&1 || code=$?
    echo "$code" >"$results/$0.code"' || true

bad=0
complain() {
  echo "lmnet ${calls[$number]}: $1: $(cat "$results/$number")"
  bad=$((bad + 1))
}
for number in "${!calls[@]}"; do
  hint=${hints[$number]} expected=2
  [[ $hint != 3\ * ]] || { expected=3 && hint=${hint#3 }; }
  code=$(cat "$results/$number.code")
  [ "$code" = "$expected" ] || complain "ended with $code, not $expected"
  [ "$(grep -c '^lmnet: ' "$results/$number")" = 1 ] || complain "not one sentence"
  grep -qF -- "$hint" "$results/$number" || complain "no word of \"$hint\""
done
diff files <(find . -mindepth 1 ! -name files | sort) || { echo "something was written" && bad=$((bad + 1)); }
[ "$bad" = 0 ] || fail "$bad of ${#calls[@]} calls"
echo "ok: ${#calls[@]} wrong calls"
