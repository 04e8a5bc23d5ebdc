#!/usr/bin/env python3
"""The sums and tables of launch/quickstart.

  launch/quickstart_report.py updates BINARY NETWORK CONTROL   updates of CONTROL that take NETWORK's training FLOP
  launch/quickstart_report.py compare BINARY RUN               the three models side by side
  launch/quickstart_report.py answers HELD_OUT < LINES         question, given and right answer; LINES: generate --jsonl
"""

import json
import re
import subprocess
import sys
from pathlib import Path

BACKBONE = Path("runs/quickstart-backbone")


def inspect(binary, what):
    return json.loads(subprocess.run([binary, "inspect", what, "--json"], check=True, stdout=subprocess.PIPE).stdout)


def training_flop(binary, config, updates=None):
    """FLOP of all stages of a config file whose stages end after so many updates."""
    command = [binary, "train", config, "--print-config"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    batch = int(re.search(r"global_batch: (\d+)", text)[1])
    lengths = [updates] if updates else [float(n) for n in re.findall(r"until: \"?([\d.]+)u", text)]
    plan = inspect(binary, config)
    tokens = batch * plan["sequence_length"]
    return sum(stage["flops_per_token"] * n * tokens for stage, n in zip(plan["stages"], lengths, strict=True))


def control_updates(binary, network, control):
    return round(training_flop(binary, network) / training_flop(binary, control, updates=1))


def compare(binary, run):
    """Lines of the table. FLOP are those of a run itself: network and control began with the trained backbone."""
    run = Path(run)
    rows = [
        ("backbone", "backbone", BACKBONE),
        ("network 1-2-1", "network", run),
        ("control: backbone, trained on", "control", Path(f"{run}-control")),
    ]
    line = "{:<31}{:>12}{:>16}{:>10}{:>12}{:>13}"
    yield line.format("on held-out items", "parameters", "training TFLOP", "loss", "perplexity", "exact match")
    for name, part, folder in rows:
        result = json.loads((run / f"evaluation-{part}.json").read_text())
        yield line.format(
            name,
            f"{inspect(binary, folder)['parameters']['total']:,}",
            f"{'' if part == 'backbone' else '+ '}{training_flop(binary, folder / 'config.yaml') / 1e12:.1f}",
            f"{result['loss']:.4f}",
            f"{result['perplexity']:.3f}",
            f"{100 * result['exact_match']:.1f} %",
        )


def answers(held_out, lines):
    for record, line in zip(json.loads(Path(held_out).read_text()), lines):
        given = json.loads(line)["text"].strip()
        right = "right" if given == record["output"] else f"wrong, it is {record['output']}"
        yield f"  {record['instruction']}  →  {given}  ({right})"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] == "updates":
        print(control_updates(*sys.argv[2:]))
    elif sys.argv[1] == "compare":
        print("\n".join(compare(*sys.argv[2:])))
    else:
        print("\n".join(answers(sys.argv[2], sys.stdin)))


if __name__ == "__main__":
    main()
