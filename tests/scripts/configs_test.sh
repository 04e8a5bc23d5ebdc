#!/usr/bin/env bash
# Every config and sweep of configs/ passes --dry-run on as many ranks as its first lines start it with, with the Hugging
# Face configs of the samples in place of /models/NAME; the equal-compute sweep is one.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
[ -d "$samples/configs" ] || { echo "skipped: no Hugging Face configs in $samples" && exit 77; }
cp -r "$root/configs" .
find configs -name '*.yaml' -exec sed -i -E "s|/models/([A-Za-z0-9.-]+)|$samples/configs/\1.json|" {} +
ln -s "$samples" data # tokenizers

count=0
for config in configs/*.yaml; do
  np=$(grep -m1 -oE -e '-np [0-9]+' "$config" | cut -d' ' -f2) || true
  extra=()
  case $config in
    # Their backbone is the run of another part.
    configs/quickstart-network.yaml | configs/quickstart-control.yaml)
      extra=('model.backbone={model_type: qwen2, vocab_size: 258, hidden_size: 128, intermediate_size: 384, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, tie_word_embeddings: true}')
      ;;
    configs/reference-classifier.yaml) # data with classes is planned
      "$lmnet" inspect "$config" >out.txt || fail "$config: $(cat out.txt)"
      continue
      ;;
  esac
  "$lmnet" train "$config" --dry-run --device h200 --ranks "${np:-1}" "${extra[@]}" >out.txt 2>&1 || fail "$config on ${np:-1} ranks: $(cat out.txt)"
  grep -q 'warning:' out.txt && fail "$config on ${np:-1} ranks: $(cat out.txt)"
  count=$((count + 1))
done
for sweep in configs/sweeps/*.yaml; do
  "$lmnet" sweep "$sweep" --dry-run >"$(basename "$sweep").txt" 2>&1 || fail "$sweep: $(cat "$(basename "$sweep").txt")"
  count=$((count + 1))
done

# The control is one only if it has the compute of what it controls.
"$lmnet" sweep configs/sweeps/equal-compute.yaml --dry-run | python3 -c '
import re, sys
compute = {}
for line in sys.stdin:
    if found := re.match(r"  (?:(\S+),seed=1|(backbone)) .* ([\d.]+) (\w)FLOP", line):
        compute[found[1] or found[2]] = float(found[3]) * {"G": 1e9, "T": 1e12, "P": 1e15}[found[4]]
total = {name: flop + (compute["backbone"] if name != "deeper" else 0) for name, flop in compute.items() if name != "backbone"}
print(total)
assert set(total) == {"network", "longer", "deeper"} and max(total.values()) <= 1.03 * min(total.values()), compute
' || fail "configs/sweeps/equal-compute.yaml does not give equal compute"
echo "ok: $count configs and sweeps"
