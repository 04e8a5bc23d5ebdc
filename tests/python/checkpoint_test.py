"""checkpoint_test.py CHECKPOINT EXPORT: a reader written from docs/checkpoint-format.md reads what `lmnet train` saved: every
checksum holds, the weights are those that `lmnet export` writes, and the optimiser's state is there for what trains."""

import json
import os
import sys

import h5py
import numpy

from checkpoint import Checkpoint


def safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    dtypes = {"BF16": numpy.uint16, "F32": numpy.float32}
    return {
        name: numpy.frombuffer(data[slice(*entry["data_offsets"])], dtypes[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def main(folder, export):
    checkpoint = Checkpoint(folder)
    checkpoint.verify()
    listed = {entry["name"] for entry in checkpoint.manifest["files"]} | {"manifest.json"}
    assert set(os.listdir(folder)) == listed, sorted(set(os.listdir(folder)) ^ listed)
    in_files = set()
    for name in sorted(listed):
        if name.endswith(".h5"):
            with h5py.File(os.path.join(folder, name), "r") as file:
                in_files |= {(name, tensor) for tensor in file}
    in_manifest = {
        (piece["file"], name) for name, tensor in checkpoint.tensors.items() for piece in tensor.get("pieces", [])
    }
    assert in_files == in_manifest, sorted(in_files ^ in_manifest)[:5]

    weights = safetensors(os.path.join(export, "model.safetensors"))
    assert weights.keys() == {name for name in checkpoint.tensors if "@" not in name}
    for name, value in weights.items():
        assert numpy.array_equal(checkpoint.bits(name), value), name

    kept = ["exp_avg", "exp_avg_sq"] + (["master"] if checkpoint.manifest["precision"] == "bf16" else [])
    trained = [name for name in weights if name.split(".")[0] in checkpoint.manifest["trains"]]
    assert trained and {name for name in checkpoint.tensors if "@" in name} == {
        f"{name}@{kind}" for name in trained for kind in kept
    }
    for name in trained:
        assert (checkpoint.read(f"{name}@exp_avg_sq") >= 0).all(), name
        assert checkpoint.tensors[f"{name}@exp_avg"]["shape"] == checkpoint.tensors[name]["shape"], name
        if "master" in kept:
            distance = numpy.abs(checkpoint.read(f"{name}@master") - checkpoint.read(name))
            assert (distance <= numpy.abs(checkpoint.read(name)) / 256 + 1e-38).all(), name
    assert any(checkpoint.read(f"{name}@exp_avg").any() for name in trained)
    print(f"ok: {len(checkpoint.tensors)} tensors in {len(listed)} files of {folder}")


main(*sys.argv[1:])
