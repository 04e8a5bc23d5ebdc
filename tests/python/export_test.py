"""export_test.py LMNET GOLDEN: import and export against the real transformers, in the current folder.

Plain backbones go in and out unchanged; every exported network gives in transformers the logits of the official
implementation (golden cases, where there are any) and the tokens of `lmnet generate`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

LMNET, GOLDEN = sys.argv[1], Path(sys.argv[2])
NEW_TOKENS = 12
PROMPTS = [[5, 17, 42], [250, 3, 9, 9, 101, 77, 30, 2], [64], [1, 2, 3, 4, 5]]
VOCABULARY = 300
ROTARY = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6}
LLAMA3 = {"rope_theta": 10000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}
BACKBONES = {
    "gpt2": {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "llama": {**ROTARY, **LLAMA3},
    "qwen2": {**ROTARY, "rope_theta": 10000.0},
}
GRAPH = {
    "vertices": {"a": {"group": "main"}, "b": {"group": "other", "backbone": None}, "c": {"group": "main"}},
    "edges": [{"from": "input", "to": "a", "kind": ["mlp", "linear"]}, {"from": "input", "to": "b"},
              {"from": "a", "to": "b", "kind": ["attention", "block"]}, {"from": "a", "to": "c", "kind": "identity"},
              {"from": "b", "to": "c", "kind": "attention"}, {"from": "b", "to": "head", "kind": "linear"},
              {"from": "c", "to": "head"}],
}


def lmnet(*arguments):
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    done = subprocess.run([LMNET, *map(str, arguments)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: lmnet {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def check(good, what):
    if not good:
        sys.exit(f"FAILED: {what}")


def weights(folder):
    """All tensors of a folder as bytes with dtype and shape."""
    tensors = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        tensors.update(load_file(file))
    return {name: (tensor.dtype, tensor.shape, tensor.view(torch.uint8).numpy().tobytes())
            for name, tensor in tensors.items()}


def load(folder, auto=AutoModelForCausalLM, **options):
    model, info = auto.from_pretrained(folder, output_loading_info=True, **options)
    check(not info["missing_keys"] and not info["unexpected_keys"], f"{folder}: {info}")
    return model.eval()


def ours(checkpoint, prompts=PROMPTS, new=NEW_TOKENS):
    Path("prompts.jsonl").write_text("".join(json.dumps({"ids": ids}) + "\n" for ids in prompts))
    lines = lmnet("generate", checkpoint, "--prompts", "prompts.jsonl", "--max-new-tokens", new, "--jsonl")
    return [json.loads(line) for line in lines.splitlines()]


def until_end(ids, ends):
    """Up to the first of the tokens that end a text: an id, a list of them, or none."""
    ends = ends if isinstance(ends, list) else [ends]
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def theirs(model, prompts, **options):
    """New tokens of prompts that are padded on the left to one length."""
    longest = max(map(len, prompts))
    padding = [longest - len(ids) for ids in prompts]
    tokens = torch.tensor([[0] * pad + ids for pad, ids in zip(padding, prompts)])
    mask = torch.tensor([[0] * pad + [1] * len(ids) for pad, ids in zip(padding, prompts)])
    made = model.generate(tokens, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
                          **options)
    return made[:, longest:].tolist()


@torch.no_grad()
def same_tokens(model, checkpoint, what):
    """`lmnet generate` and transformers agree: alone, in a padded batch, with and without the cache, in probability."""
    end = model.generation_config.eos_token_id
    want = ours(checkpoint)
    ids = [until_end(item["ids"], end) for item in want]
    check([until_end(row, end) for row in theirs(model, PROMPTS)] == ids, f"{what}: tokens of a padded batch")
    for prompt, item, expected in zip(PROMPTS, want, ids):
        for options in ({}, {"use_cache": False}):
            check(until_end(theirs(model, [prompt], **options)[0], end) == expected, f"{what}: tokens, {options}")
        logits = model(torch.tensor([prompt + item["ids"]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        total = logits.gather(1, torch.tensor(item["ids"])[:, None]).sum().item()
        check(abs(total - item["logprob"]) <= 1e-4 * max(1, abs(total)), f"{what}: {total} is not {item['logprob']}")


def round_trip(folder, name):
    """import -> export gives the same bytes."""
    lmnet("import", folder, f"{name}.again")
    lmnet("export", f"{name}.again", f"{name}.twice")
    check(weights(folder) == weights(f"{name}.twice"), f"{name}: import and export change the weights")


def test_plain(family, tied, dtype):
    name = f"plain-{family}-{'tied' if tied else 'untied'}-{str(dtype)[6:]}"
    torch.manual_seed(7)
    config = AutoConfig.for_model(family, **BACKBONES[family], tie_word_embeddings=tied, eos_token_id=None,
                                  bos_token_id=257, pad_token_id=257)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ends = theirs(model, PROMPTS)[0][4]  # a token that does come
    ends = ends if tied else [ends, VOCABULARY - 1]
    model.config.eos_token_id = model.generation_config.eos_token_id = ends
    model.to(dtype).save_pretrained(name)
    if dtype == torch.float32:  # then config.json alone tells it
        Path(f"{name}/generation_config.json").unlink()
    lmnet("import", name, f"{name}.checkpoint")
    lmnet("export", f"{name}.checkpoint", f"{name}.export")
    for file in ("config.json", "generation_config.json"):
        written = json.loads(Path(f"{name}.export/{file}").read_text())
        check((written["eos_token_id"], written["pad_token_id"]) == (ends, 257), f"{name}: {file}")
    check(weights(name) == weights(f"{name}.export"), f"{name}: the weights differ")
    check(not list(Path(f"{name}.export").glob("*.py")), f"{name}: modelling code for a plain backbone")
    round_trip(f"{name}.export", name)
    loaded = load(f"{name}.export", dtype=dtype)
    check(type(loaded) is type(model), f"{name}: loads as {type(loaded).__name__}")
    tokens = torch.tensor([PROMPTS[1]])
    check(loaded(tokens).logits.equal(load(name, dtype=dtype)(tokens).logits), f"{name}: logits")
    if dtype == torch.float32:
        same_tokens(loaded, f"{name}.checkpoint", name)
    print(f"ok: {name}")


def train(name, model):
    """A run whose weights are a few large steps away from their start."""
    data = {"tokenizer": "bytes", "sequence_length": 16, "train": [{"path": "data/text.jsonl", "format": "c4"}]}
    tied = model["backbone"].get("tie_word_embeddings", model["backbone"]["model_type"] == "gpt2")
    trains = ["edges", "vertices", "embeddings"] + ([] if tied else ["head"])
    stage = {"name": "all", "trains": trains, "until": "6u", "lr": 2e-2}
    config = {"run": {"name": name}, "model": {"precision": "fp32", **model}, "data": data,
              "train": {"global_batch": 4, "micro_batch": 4, "stages": [stage]}}
    Path(f"{name}.yaml").write_text(json.dumps(config))
    lmnet("train", f"{name}.yaml")
    return f"runs/{name}"


def test_network(name, model):
    run = train(name, model)
    lmnet("export", run, f"{name}.export")
    loaded = load(f"{name}.export", trust_remote_code=True)
    same_tokens(loaded, run, name)
    round_trip(f"{name}.export", name)
    same = ours(f"{name}.again")
    check(same == ours(run), f"{name}: tokens after export and import")
    lmnet("export", run, f"{name}.bf16", "--dtype", "bf16")
    round_trip(f"{name}.bf16", f"{name}.bf16")
    check(load(f"{name}.bf16", trust_remote_code=True, dtype="auto").dtype == torch.bfloat16, f"{name}: dtype")
    loaded.save_pretrained(f"{name}.saved")  # what transformers writes itself comes in again
    Path(f"{name}.saved/config.json").write_text(Path(f"{name}.export/config.json").read_text())
    check(weights(f"{name}.saved") == weights(f"{name}.export"), f"{name}: save_pretrained")
    print(f"ok: {name}")


def networks():
    backbone = {family: {"model_type": family, "initializer_range": 0.1, **keys} for family, keys in BACKBONES.items()}
    tied = {"tie_word_embeddings": True}
    yield "gpt2", {"preset": "reference-gpt2", "backbone": backbone["gpt2"], "topology": "1-2-1",
                   "input": {"prefix": 4}}
    yield "causal-qwen2", {"preset": "reference-causal", "backbone": backbone["qwen2"] | tied, "topology": "1-2-2-1"}
    yield "causal-llama", {"preset": "reference-causal", "backbone": backbone["llama"], "topology": "2-1"}
    yield "separate", {"backbone": backbone["qwen2"], "topology": "1-2", "sharing": "none", "aggregation": "sum",
                       "output": "mean", "input": {"prefix": 3}}
    graph = json.loads(json.dumps(GRAPH))
    graph["vertices"]["b"]["backbone"] = backbone["llama"]
    yield "graph", {"backbone": backbone["qwen2"] | tied, "topology": graph}


def reference_folder(case):
    """The folder that the official implementation would have written, and what import must be told about it."""
    folder = Path(f"golden-{case['name']}")
    folder.mkdir()
    tensors = load_file(GOLDEN / f"{case['name']}.safetensors")
    theirs = {name: value for name, value in tensors.items() if not name.startswith("@")}
    save_file(theirs, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(case["config"]))
    preset = {"gpt2": "reference-gpt2", "beam": "reference-gpt2"}.get(case["kind"], "reference-causal")
    if case["kind"] == "class":
        preset = "reference-classifier" + ("-separate" if case["cls"].endswith("S") else "")
    return folder, preset, {name[1:]: value for name, value in tensors.items() if name.startswith("@")}


@torch.no_grad()
def test_golden(case):
    folder, preset, values = reference_folder(case)
    lmnet("import", folder, f"{folder}.checkpoint", "--preset", preset, "--topology", "-".join(map(str, case["topo"])))
    lmnet("export", f"{folder}.checkpoint", f"{folder}.export")
    auto = AutoModelForSequenceClassification if case["kind"] == "class" else AutoModelForCausalLM
    model = load(f"{folder}.export", auto, trust_remote_code=True)
    tokens = values["in/input_ids"]
    if "out/logits" in values:
        want = values["out/logits"]
        got = model(tokens, attention_mask=values.get("in/attention_mask")).logits
        off = ((got - want).abs().max() / want.abs().max()).item()
        check(off <= case["tolerance"]["logits"], f"{case['name']}: logits are {off} off")
    if case["kind"] == "greedy":
        made = model.generate(tokens, max_new_tokens=case["new"], do_sample=False, pad_token_id=0)
        check(made.equal(values["out/sequences"]), f"{case['name']}: tokens")
        lines = ours(f"{folder}.checkpoint", tokens.tolist(), case["new"])
        want = values["out/sequences"][:, tokens.shape[1] :].tolist()
        check([line["ids"] for line in lines] == want, f"{case['name']}: tokens of lmnet generate")
    print(f"ok: golden {case['name']}")


def main():
    print("transformers", transformers.__version__)
    Path("data").mkdir()
    Path("data/text.jsonl").write_text("".join(f'{{"text": "{"sum " * n} {n * n} and so on"}}\n' for n in range(40)))
    for family in BACKBONES:
        for tied in (True, False):
            for dtype in (torch.float32, torch.bfloat16):
                test_plain(family, tied, dtype)
    for name, model in networks():
        test_network(name, model)
    cases = GOLDEN / "cases.jsonl"
    for line in cases.read_text().splitlines() if cases.exists() else []:
        if json.loads(line)["kind"] != "edge" and json.loads(line).get("train") != "lora":
            test_golden(json.loads(line))


main()
