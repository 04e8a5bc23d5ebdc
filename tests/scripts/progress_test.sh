#!/usr/bin/env bash
# What people see of a run on a terminal: a bar with the time left, loss and speed that fits narrow windows, keeps to ASCII
# without a UTF-8 locale and uses no colours with NO_COLOR, alone and under launch/mpirun; lines that stay above it; what
# Ctrl-C does. In a file stand plain lines, and the run's log files are the same in both.
# labels: slow
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_config
cat >>tiny.yaml <<'YAML'
evaluate: {every: 20u, batches: 2}
YAML
sed -i 's|^  train: \[{path|  validation: [{path: data/text.jsonl, format: c4}]\n&|' tiny.yaml

PYTHONPATH=$root/tests/python python3 - "$lmnet" "$root/launch/mpirun" <<'PY' || fail "on a terminal"
import re
import sys

from screen import run

lmnet, mpirun = sys.argv[1:]


def train(name, columns=100, environment={}, ranks=1, interrupt=None, extra=()):
    command = [lmnet, "train", "tiny.yaml", f"run.name={name}", "train.micro_batch=1", *extra]
    if ranks > 1:
        command = [mpirun, "-np", str(ranks), "--", *command]
    code, screen = run(command, columns, environment, interrupt)
    for row in screen.seen:
        assert len(row) <= columns or "█" not in row, row
    return code, screen, "\n".join(screen.rows)


bar = re.compile(r"^update \d+/60 [█░]+ +\d+ % · loss \d\.\d{4} · [\d.]+( K)? tok/s · .* left$")
for ranks in (1, 2):
    code, screen, text = train(f"wide-{ranks}", ranks=ranks)
    assert code == 0, text
    assert any(bar.match(row) for row in screen.seen), screen.seen[-20:]
    assert screen.colors
    assert re.search(r"^update 20 · validation loss", text, re.M), text
    assert re.search(r"^done · 60 updates", text, re.M), text
    assert "█" not in text and "tok/s" not in text, f"a bar is left behind, or step lines: {text}"
    print(f"ok: a bar on {ranks} ranks")

code, screen, text = train("narrow", columns=30, environment={"NO_COLOR": "1"})
assert code == 0 and not screen.colors, text
assert any(re.match(r"^\d+/60 [█░]+ +\d+ %", row) for row in screen.seen), screen.seen[-20:]

code, screen, text = train("ascii", environment={"LC_ALL": "C"})
assert code == 0 and any(re.match(r"^update \d+/60 \[[#.]+\] +\d+ % - loss", row) for row in screen.seen)
assert all(row.isascii() for row in screen.seen), [row for row in screen.seen if not row.isascii()]
print("ok: narrow, without colours, in ASCII")

code, screen, text = train("dumb", environment={"TERM": "dumb"})
assert code == 0 and "tok/s" in text and "█" not in text, text

long = ["train.stages[1].until=4000u"]
code, screen, text = train("stopped", interrupt="validation loss", extra=long)
assert code == 130, (code, text)
assert "Ctrl-C: saving after this update" in text and "stopped by signal INT" in text, text
code, screen, text = train("stopped-2", interrupt="validation loss", ranks=2, extra=long)
assert code == 138 and "asked all ranks to save and stop" in text, (code, text)
print("ok: Ctrl-C says what it does")
PY

"$lmnet" train tiny.yaml run.name=file >out.txt || fail "into a file: $(tail -3 out.txt)"
grep -q '^update 60/60 · ' out.txt || fail "no step lines in a file: $(cat out.txt)"
grep -q $'[\r\x1b]' out.txt && fail "a file has what is for terminals"
TERM=xterm "$root/launch/mpirun" -np 2 "$lmnet" train tiny.yaml run.name=file-2 >out-2.txt 2>err.txt || fail "ranks into a file: $(tail -3 err.txt)"
grep -q '^update 60/60 · ' out-2.txt || fail "no step lines of two ranks in a file: $(cat out-2.txt)"
grep -q $'[\x1b]' out-2.txt && fail "a file has what is for terminals, under mpirun"
lines() { grep -oE '\] update [0-9]+/60 ' "$1/logs/rank-000.log" | sort; }
diff <(lines runs/file) <(lines runs/wide-1) >/dev/null || fail "the log of a run depends on the terminal"
echo "ok: plain lines in a file"

# A measurement's standard output is its result alone; that of loading takes the steps asked for, whatever the layout.
"$lmnet" bench tiny.yaml --what load --steps 3 parallel.vertex=2 --json >out.txt 2>err.txt || fail "bench: $(cat err.txt)"
[ "$(wc -l <out.txt)" = 1 ] && grep -q '"batches":3,' out.txt || fail "bench --what load --steps 3: $(cat out.txt)"

# The last update of a run is logged, whatever log.every is; each one once, also of a run that goes on.
updates() { field runs/rare/metrics.jsonl update | tr '\n' ' '; }
"$lmnet" train tiny.yaml run.name=rare log.every=40u train.stages[1].until=10u >out.txt || fail "a short run: $(tail -3 out.txt)"
grep -q '^update 25/25 · ' out.txt || fail "no line of the last update: $(cat out.txt)"
[ "$(updates)" = '25 ' ] || fail "a run shorter than log.every has metrics of $(updates)"
"$lmnet" train tiny.yaml run.name=rare log.every=40u train.stages[1].until=25u >out.txt || fail "it goes on: $(tail -3 out.txt)"
[ "$(updates)" = '25 40 ' ] || fail "gone on, it has metrics of $(updates)"
echo "ok: the last update is logged, once"
