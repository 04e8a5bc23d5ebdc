# shellcheck shell=bash
# Sourced by the script tests that run the program: a temporary folder, a tiny config, helpers that name what failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/launch/mpi-environment"
export OMP_NUM_THREADS=1
lmnet=${LMNET_BUILD:-$root/build/release}/lmnet
samples=${LMNET_TEST_DATA:-$root/../shared/data}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# ranks N ARGS…: lmnet on N ranks.
ranks() {
  local n=$1
  shift
  timeout 300 mpirun -np "$n" "$lmnet" "$@"
}

# field FILE KEY…: a line of the values of the keys for each update in a metrics file, validation lines left out.
field() {
  python3 - "$@" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    record = json.loads(line)
    if "loss" in record:
        print(*[json.dumps(record[key]) for key in sys.argv[2:]])
PY
}

# A network of a few thousand weights on text that is made here.
make_config() {
  mkdir -p data
  python3 - <<'PY'
import json, random
random.seed(7)
words = "the cat sat on a mat and saw two red birds in an old tree by the sea".split()
with open("data/text.jsonl", "w") as out:
    for _ in range(300):
        out.write(json.dumps({"text": " ".join(random.choices(words, k=random.randint(5, 40)))}) + "\n")
PY
  cat >tiny.yaml <<'YAML'
model:
  backbone: {model_type: qwen2, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2,
    num_key_value_heads: 1, vocab_size: 258, tie_word_embeddings: true}
  topology: 1-2-1
  input: {edge: {kind: block}}
  precision: fp32
data:
  tokenizer: bytes
  sequence_length: 32
  train: [{path: data/text.jsonl, format: c4}]
train:
  global_batch: 8
  micro_batch: 2
  stages:
    - {name: edges, trains: [edges], until: 15u, lr: 1e-3, schedule: cosine, warmup: 3u}
    - {name: all, trains: [edges, vertices, embeddings], until: 45u, lr: {default: 1e-3, edges: 2e-3}, schedule: linear}
log: {every: 1u}
checkpoint: {every: 10u}
YAML
}

# topologies.yaml: a sweep of six topologies and two seeds over tiny.yaml, on two ranks.
make_sweep() {
  cat >topologies.yaml <<'YAML'
base: tiny.yaml
ranks: 2
seeds: 2
set:
  data.validation: [{path: data/text.jsonl, format: c4}]
  evaluate.every: 8u
  evaluate.batches: 2
  checkpoint.every: 4u
  train.stages[0].until: 8u
  train.stages[1].until: 16u
grid: {model.topology: [1-1, 1-2-1, 1-2-2-1, 1-3-1, 1-3-3-1, 1-1-1]}
YAML
}
