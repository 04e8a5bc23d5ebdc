"""tensorboard_test.py RUN: compares what TensorBoard's own reader finds in RUN/tensorboard with RUN/metrics.jsonl."""

import io
import json
import math
import struct
import sys
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, DEFAULT_SIZE_GUIDANCE


def flat(record, path=""):
    for key, value in record.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}/")
        elif isinstance(value, (int, float)) and (path or key not in ("update", "restart", "time")):
            yield f"{path}{key}", value


def as_float(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main():
    run = Path(sys.argv[1])
    files = list((run / "tensorboard").iterdir())
    assert len(files) == 1, files
    # Without purging, so that a point that stands twice is seen.
    board = EventAccumulator(str(run / "tensorboard"), {key: 0 for key in DEFAULT_SIZE_GUIDANCE}, purge_orphaned_data=False)
    board.Reload()
    expected = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        for tag, value in flat(record):
            expected.setdefault(tag, []).append((record["update"], value))
    assert set(board.Tags()["scalars"]) == set(expected), (board.Tags()["scalars"], list(expected))
    for tag, points in expected.items():
        found = [(event.step, event.value) for event in board.Scalars(tag)]
        wanted = [(step, as_float(value)) for step, value in points]
        assert found == wanted, (tag, found, wanted)
        assert all(math.isfinite(event.wall_time) and event.wall_time > 1e9 for event in board.Scalars(tag))
    (image,) = board.Images("topology")
    picture = Image.open(io.BytesIO(image.encoded_image_string))
    picture.load()
    assert picture.size == (image.width, image.height) and picture.mode == "RGB", picture
    assert len(picture.getcolors(1 << 20)) > 3
    (config,) = board.Tensors("config")
    text = config.tensor_proto.string_val[0].decode()
    assert text == "".join(f"    {line}\n" for line in (run / "config.yaml").read_text().splitlines()), text
    assert board.SummaryMetadata("config").plugin_data.plugin_name == "text"
    assert b"topology" in board.Tensors("graph")[0].tensor_proto.string_val[0]
    print(f"ok: {sum(map(len, expected.values()))} points under {len(expected)} tags, config, graph and picture")


main()
