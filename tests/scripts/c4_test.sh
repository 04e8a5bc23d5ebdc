#!/usr/bin/env bash
# Real text: configs/c4.yaml on the C4 rows of the samples, two ranks. The validation loss falls over 200 updates, and
# bf16 ends within 2 % of fp32.
# labels: slow serial
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
[ -d "$samples/c4/en" ] || exit 77

for precision in bf16 fp32; do
  mpirun -np 2 "$lmnet" train "$root/configs/c4.yaml" "data.train[0].path=$samples/c4/en/c4-train.*.json.gz" \
    "data.validation[0].path=$samples/c4/en/c4-validation.*.json.gz" "run.name=$precision" "model.precision=$precision" \
    >"$precision.log" 2>&1 || fail "$precision: $(tail -3 "$precision.log")"
done
python3 - <<'PY'
import json
final = {}
for precision in ("bf16", "fp32"):
    losses = [json.loads(line)["validation_loss"] for line in open(f"runs/{precision}/metrics.jsonl") if "validation_loss" in line]
    print(precision, [round(loss, 4) for loss in losses])
    assert len(losses) == 4 and all(after < before for before, after in zip(losses, losses[1:])), losses
    final[precision] = losses[-1]
assert abs(final["bf16"] - final["fp32"]) < 0.02 * final["fp32"], final
PY
