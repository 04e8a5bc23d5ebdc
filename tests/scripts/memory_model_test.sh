#!/usr/bin/env bash
# The memory that the cost model expects of six unlike trainings is within 20 % of what their fullest rank takes beyond
# what the program takes before it has a network.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

cat >net.yaml <<'YAML'
model:
  topology: 1
data: {sequence_length: 256}
train: {stages: [{trains: [edges, vertices, embeddings], until: 1u, lr: 1e-3}]}
YAML
llama='{model_type: llama, vocab_size: 4096, hidden_size: 128, intermediate_size: 512, num_hidden_layers: 6,
  num_attention_heads: 4, num_key_value_heads: 2, tie_word_embeddings: true}'
qwen2='{model_type: qwen2, vocab_size: 4096, hidden_size: 192, intermediate_size: 512, num_hidden_layers: 4,
  num_attention_heads: 6, num_key_value_heads: 2, tie_word_embeddings: false}'
gpt2='{model_type: gpt2, vocab_size: 4096, n_embd: 384, n_layer: 8, n_head: 6, n_positions: 256}'

# check RANKS BACKBONE TOPOLOGY PRECISION TRAINS ROWS TOKENS: one step, all ranks one replica.
check() {
  ranks "$1" bench net.yaml --json --steps 1 --warmup 1 "model.backbone=$2" model.topology="$3" model.precision="$4" \
    "train.stages[0].trains=[$5]" train.global_batch="$6" train.micro_batch="$6" data.sequence_length="$7" \
    parallel.vertex="$1" >measured.json
  python3 - "$@" <<'PY' || fail "the memory of $3, $4, $5 on $1 ranks is not what was expected"
import json, sys
one = json.load(open("measured.json"))
expected, taken = one["expected_memory_gib"], one["peak_memory_gib"] - one["baseline_memory_gib"]
print(f"{sys.argv[3]} {sys.argv[4]} {sys.argv[5]} {sys.argv[6]}x{sys.argv[7]} on {sys.argv[1]}:",
      f"expected {1024 * expected:.0f} MiB, taken {1024 * taken:.0f} MiB, {expected / taken:.2f}")
raise SystemExit(not 0.8 <= expected / taken <= 1.2)
PY
}

check 1 "$llama" 1 bf16 vertices,embeddings 40 256
check 1 "$gpt2" 1 fp32 vertices,embeddings 8 192
check 1 "$llama" 1-2-1 bf16 edges 16 384
check 2 "$qwen2" 1-2-1 fp32 edges,vertices,embeddings,head 12 192
check 1 "$llama" 1-4-4-4-1 bf16 edges 8 128
check 2 "$llama" 1-4-4-4-1 bf16 edges,vertices,embeddings 8 192
