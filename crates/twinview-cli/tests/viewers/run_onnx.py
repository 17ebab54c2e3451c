"""Runs models that `twinview export` wrote as ONNX in ONNX Runtime, on the images of an IDX file.

    cd crates/twinview-cli/tests/viewers && python3 -m venv venv && venv/bin/pip install -r requirements.txt
    twinview export RUN --out model.onnx
    twinview predict --weights RUN --split test --probabilities --out table.csv     # of a classifier
    twinview embed --weights RUN --split test --out map                             # of an encoder: map/features.npy
    venv/bin/python run_onnx.py t10k-images-idx3-ubyte.gz model.onnx table.csv ...

Each model must give the probabilities of its table, or the features of its file.
"""

import csv
import gzip
import sys

import numpy as np
import onnxruntime


def images(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        content = file.read()
    count, height, width = np.frombuffer(content, ">u4", 3, 4)
    return np.frombuffer(content, np.uint8, offset=16).reshape(count, 1, height, width).astype(np.float32) / 255


def expected(path):
    if path.endswith(".npy"):
        return np.load(path)
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return np.array([[float(value) for name, value in zip(header, row) if name.startswith("p(")] for row in rows])


def softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


pixels = images(sys.argv[1])
for model, table in zip(sys.argv[2::2], sys.argv[3::2]):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert "dataset" in metadata, f"{model}: {metadata}"
    (output,) = session.get_outputs()
    # The batch is of any size.
    found = np.concatenate([session.run(None, {"images": part})[0] for part in (pixels[:7], pixels[7:])])
    found = softmax(found) if output.name == "logits" else found
    wanted = expected(table)
    assert found.shape == wanted.shape, f"{model}: {found.shape}, not {wanted.shape}"
    difference = np.abs(found - wanted).max() / max(1, np.abs(wanted).max())
    assert difference < 1e-5, f"{model}: {difference} off"
    print(f"{model}: {output.name} of {len(found)} images, {difference:.1e} off at most")
