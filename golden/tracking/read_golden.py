"""Reads the golden files of this folder with the packages that they are meant for.

They were written by the test `the_files_are_those_that_the_viewers_read`, with TWINVIEW_GOLDEN set:

    TWINVIEW_GOLDEN=1 cargo test --release -p twinview --lib the_files_are_those
    python golden/tracking/read_golden.py

with tensorboard 2.21.0 and wandb 0.31.0.
"""

import struct
import zlib
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

here = Path(__file__).parent


def records(path):
    """As LevelDB's log: blocks of 32 KiB, pieces with checksum, length and kind."""
    data, place, record = path.read_bytes(), 7, b""
    assert data[:7] == b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    while place < len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + 7])
        piece = data[place + 7 : place + 7 + length]
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == checksum
        place, record = place + 7 + length, record + piece
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


accumulator = EventAccumulator(str(here / "events.out.tfevents.golden"), size_guidance={"scalars": 0})
accumulator.Reload()
losses = [(event.step, event.value) for event in accumulator.Scalars("epoch/loss")]
assert losses == [(2, 1.0), (4, 0.5), (6, struct.unpack("f", struct.pack("f", 1 / 3))[0])], losses
assert [event.step for event in accumulator.Scalars("update/loss")] == [1, 2, 3, 4, 5, 6]
histogram = accumulator.Histograms("weights/a")[0].histogram_value
assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (4, 0, 4, 6), histogram
assert (accumulator.Images("views")[0].width, accumulator.Images("views")[0].height) == (4, 2)
assert "epochs = 3" in accumulator.Tensors("settings")[0].tensor_proto.string_val[0].decode()

rows = list(records(here / "run.wandb"))
assert [record.num for record in rows] == list(range(1, len(rows) + 1))
kinds = [record.WhichOneof("record_type") for record in rows]
assert kinds == ["header", "run", "environment", "files"] + ["history"] * 7 + ["summary", "exit"], kinds
assert [record.history.step.num for record in rows if record.HasField("history")] == [0, 1, 2, 3, 4, 5, 6]
assert {item.key: item.value_json for item in rows[1].run.config.update}["plan"] == '{"epochs":3,"names":["a"]}'
print("both files are read")
