"""What the scripts of this folder share: the program, a tiny run, jobs with the moments of their lines, virtual hosts, tables."""
import json
import os
import re
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LMNET = os.path.join(os.path.abspath(os.environ.get("LMNET_BUILD", os.path.join(ROOT, "build/release"))), "lmnet")
MPIRUN = os.path.join(ROOT, "launch/mpirun")
CLUSTER = os.path.abspath(os.environ.get("LMNET_CLUSTER", os.path.join(ROOT, "../shared/cluster")))
LIMIT = 120  # what takes longer hangs
RUN = "runs/tiny"


def write_run(work, training):
    """A config `tiny.yaml` of a few thousand weights with these keys about training, and its data."""
    config = """
model:
  backbone: {model_type: qwen2, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2,
    num_key_value_heads: 1, vocab_size: 258, tie_word_embeddings: true}
  topology: 1-2-1
  precision: fp32
data:
  tokenizer: bytes
  sequence_length: 32
  train: [{path: text.jsonl, format: c4}]
  validation: [{path: text.jsonl, format: c4}]
log: {every: 1u}
"""
    for name, text in (("tiny.yaml", config + training), ("text.jsonl", '{"text": "the cat sat on a mat by the sea"}\n' * 400)):
        with open(os.path.join(work, name), "w") as file:
            file.write(text)


def take_settings(script):
    """The environment that a script of settings exports."""
    settings = subprocess.run(["bash", "-c", f". {script} && env -0"], check=True, stdout=subprocess.PIPE, text=True)
    os.environ.update(line.split("=", 1) for line in settings.stdout.split("\0") if "=" in line)
    os.environ["OMP_NUM_THREADS"] = "1"


class Job:
    """A command that runs in the background, with the moment at which each of its lines came."""

    def __init__(self, command, work, environment=None, limit=LIMIT):
        self.begin, self.limit = time.monotonic(), limit
        self.process = subprocess.Popen(command, cwd=work, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                        start_new_session=True)
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    def first(self, pattern, after=0.0):
        return next(((moment, line) for moment, line in list(self.lines) if moment > after and re.search(pattern, line)), None)

    def wait_for(self, pattern, after=0.0):
        while self.process.poll() is None and time.monotonic() < self.begin + self.limit:
            if self.first(pattern, after):
                return True
            time.sleep(0.005)
        return False

    def wait(self):
        """Its exit code; None for one that hangs."""
        try:
            self.process.wait(max(1, self.begin + self.limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            return None
        self.reader.join(5)
        return self.process.returncode


def metrics(work, *keys):
    """These values of each line that has the first of them; without keys what each update and validation was."""
    keys = keys or ("update", "loss", "grad_norm", "batch_hash", "validation_loss")
    lines = []
    try:
        with open(os.path.join(work, RUN, "metrics.jsonl")) as file:
            for line in file:
                record = json.loads(line)
                if keys[0] in record:
                    lines.append(tuple(record.get(key) for key in keys))
    except (OSError, ValueError):
        pass
    return lines


def last_update(work):
    return max((line[0] for line in metrics(work)), default=0)


def status_of(work):
    try:
        with open(os.path.join(work, RUN, "status.json")) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def cluster(script, *arguments, **options):
    return subprocess.run([os.path.join(CLUSTER, script), *arguments], check=True, **options)


def has_hosts():
    return os.geteuid() == 0 and os.path.exists(os.path.join(CLUSTER, "netns-up.sh"))


class Hosts:
    """Virtual hosts h1, h2, … behind wires of 100 Mbit/s, as long as it is open."""

    def __init__(self, number, shown):
        self.number, self.shown = number, shown

    def __enter__(self):
        made = cluster("netns-up.sh", "-n", str(self.number), "-r", "100", "-t", "900", "-v", self.shown, stdout=subprocess.PIPE,
                       text=True)
        os.environ["LAB_NET"] = re.search(r"LAB_NET=(\S+)", made.stdout).group(1)
        return self

    def __exit__(self, *_):
        cluster("netns-down.sh", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self, *words):
        """launch/mpirun on h1 with these words."""
        agent = os.path.join(CLUSTER, "rsh-agent.py")
        return [os.path.join(CLUSTER, "host-exec.sh"), "h1", MPIRUN, "--mca", "plm_rsh_agent", agent, *words]

    def fault(self, kind, host):
        if kind in ("kill", "stop"):
            cluster("host-exec.sh", host, "pkill", {"kill": "-KILL", "stop": "-STOP"}[kind], "-x", "lmnet")
        elif kind == "slow":
            cluster("netns-fault.sh", "rate", host, "10")
        elif kind == "freeze":
            try:
                cluster("netns-fault.sh", "stop", host)
            except subprocess.CalledProcessError:  # a process of the host ended as it was to be stopped
                cluster("netns-fault.sh", "stop", host)
        elif kind in ("cut", "crash", "off"):
            cluster("netns-fault.sh", kind, host)


def write_table(table):
    """Puts a Markdown table in the place of the one with the same header in README.md."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
    with open(path) as file:
        text = file.read()
    begin = text.index(table.split("\n", 1)[0])
    end = text.find("\n\n", begin)
    with open(path, "w") as file:
        file.write(text[:begin] + table + (text[end:] if end >= 0 else "\n"))
