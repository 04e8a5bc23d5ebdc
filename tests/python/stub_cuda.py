"""stub_cuda.py TORCH_LIB OUT: makes the CUDA libraries without which PyTorch's Python module is not loaded.

The wheel's Python part is linked to its CUDA part, and that to libraries of 2 GB, which nothing on a CPU ever calls.
Here they are empty: each has the names and versions that are looked for, and a call ends the process.
"""

import re
import subprocess
import sys
from collections import defaultdict


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main(torch_lib, out):
    needed, names = set(), defaultdict(set)  # names by the version that they are wanted in
    for file in ("libtorch_cuda.so", "libtorch_nvshmem.so", "libtorch_python.so"):
        dynamic = run("readelf", "-d", f"{torch_lib}/{file}")
        needed.update(re.findall(r"NEEDED.*\[(lib(?:cu(?!dart)|nccl|nvshmem)[^\]]*)\]", dynamic))
        undefined = run("nm", "-D", "--undefined-only", f"{torch_lib}/{file}")
        for name, version in re.findall(r" U (\w+)(?:@(\S+))?$", undefined, re.M):
            names[version].add(name)
    for library in needed:
        stem = re.match(r"lib([^._]+)", library)[1]
        version = "NVSHMEM" if stem == "nvshmem" else library
        wanted = names.get(version) or {name for name in names[""] if name.lower().startswith(stem.lower())}
        command = ["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-x", "c", "-", "-o", f"{out}/{library}"]
        if version in names:
            with open(f"{out}/versions", "w") as script:
                script.write(f"{version} {{ *; }};")
            command.insert(1, f"-Wl,--version-script={out}/versions")
        source = "".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in wanted)
        subprocess.run(command, input=source, text=True, check=True)


main(*sys.argv[1:])
