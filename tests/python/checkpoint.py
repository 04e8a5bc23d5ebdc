"""Reads LMNet checkpoints of format 2 with h5py and numpy, from docs/checkpoint-format.md alone; checks every checksum."""

import json
import os

import h5py
import numpy

_STORED = {"bf16": numpy.uint16, "fp32": numpy.float32, "fp64": numpy.float64, "int64": numpy.int64}


def _crc_table():
    table = numpy.arange(256, dtype=numpy.uint32)
    for _ in range(8):
        table = numpy.where(table & 1, (table >> 1) ^ numpy.uint32(0x82F63B78), table >> 1)
    return table.tolist()


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in bytes(data):
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Checkpoint:
    """A complete checkpoint. `tensors`: what the manifest says of each, by name."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "manifest.json"), "rb") as file:
            text = file.read()
        self.manifest = json.loads(text)
        if self.manifest["format_version"] != 2:
            raise ValueError(f"{folder}: format_version {self.manifest['format_version']}")
        if crc32c(text[: text.rindex(b'  "crc32c": ')]) != self.manifest["crc32c"]:
            raise ValueError(f"{folder}: manifest.json is damaged")
        self.tensors = self.manifest["tensors"]

    def verify(self):
        """Reads every file."""
        for entry in self.manifest["files"]:
            with open(os.path.join(self.folder, entry["name"]), "rb") as file:
                data = file.read()
            if len(data) != entry["bytes"] or crc32c(data) != entry["crc32c"]:
                raise ValueError(f"{self.folder}: {entry['name']} is damaged")

    def bits(self, name):
        """The whole tensor as it is stored; bf16 as 16-bit integers."""
        tensor = self.tensors[name]
        if "reference" in tensor:
            reference = self.manifest["references"][tensor["reference"]]
            if reference["kind"] != "checkpoint":
                raise ValueError(f"{name} is found in {reference['path']}")
            return Checkpoint(os.path.join(self.folder, reference["path"])).bits(name)
        flat = numpy.empty(int(numpy.prod(tensor["shape"], dtype=numpy.int64)), _STORED[tensor["dtype"]])
        end = 0
        for piece in tensor["pieces"]:
            if piece["offset"] != end:
                raise ValueError(f"{name}: the pieces do not follow each other")
            end += piece["length"]
            flat[piece["offset"] : end] = self._piece(name, tensor, piece)
        if end != flat.size or crc32c(flat) != tensor["crc32c"]:
            raise ValueError(f"{name} is damaged")
        return flat.reshape(tensor["shape"])

    def _piece(self, name, tensor, piece):
        with h5py.File(os.path.join(self.folder, piece["file"]), "r") as file:
            data = file[name]
            values, attributes = data[()], dict(data.attrs)
        whole = "offset" not in attributes
        place = (0, list(values.shape)) if whole else (int(attributes["offset"]), attributes["shape"].tolist())
        if (
            attributes["dtype"].decode() != tensor["dtype"]
            or place != (piece["offset"], tensor["shape"])
            or int(attributes["crc32c"]) != piece["crc32c"]
            or crc32c(numpy.ascontiguousarray(values)) != piece["crc32c"]
        ):
            raise ValueError(f"{piece['file']}: {name} is not what the manifest tells of")
        return values.reshape(-1)

    def read(self, name):
        """The whole tensor as numbers; bf16 as float32."""
        bits = self.bits(name)
        if self.tensors[name]["dtype"] != "bf16":
            return bits
        return (bits.astype(numpy.uint32) << 16).view(numpy.float32)
