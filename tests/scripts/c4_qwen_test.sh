#!/usr/bin/env bash
# Real text in a real vocabulary: configs/c4-qwen.yaml on the C4 rows of the samples with the tokenizer of Qwen2.5, two
# ranks. The validation loss falls, and a checkpoint generates with the tokenizer that it brings along.
# labels: slow serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
[ -d "$samples/c4/en" ] && [ -d "$samples/tokenizers/qwen2.5" ] || exit 77

cp -r "$samples/tokenizers/qwen2.5" tokenizer
mpirun -np 2 "$lmnet" train "$root/configs/c4-qwen.yaml" data.tokenizer=./tokenizer \
  "data.train[0].path=$samples/c4/en/c4-train.*.json.gz" "data.validation[0].path=$samples/c4/en/c4-validation.*.json.gz" \
  "train.stages[0].until=60u" evaluate.every=20u >log 2>&1 || fail "$(tail -3 log)"
python3 - <<'PY'
import json
losses = [json.loads(line)["validation_loss"] for line in open("runs/c4-qwen/metrics.jsonl") if "validation_loss" in line]
print([round(loss, 4) for loss in losses])
assert len(losses) == 3 and all(after < before for before, after in zip(losses, losses[1:])), losses
PY
rm -rf tokenizer
"$lmnet" generate runs/c4-qwen --prompt "The weather" --max-new-tokens 3 --jsonl >text || fail "generate"
grep -q '"text":"..*"' text || fail "no text: $(cat text)"
