"""Makes the reference classes of the weighted vote: `python make_knn.py`, with NumPy, PyTorch and lightly.

`vote_features.npy` and `vote_labels.npy` hold 400 synthetic rows, the first 320 to learn from; `vote_classes.npy` has a
row for each other one: its class by (k, temperature) = (200, 0.07), (200, 0.1), (20, 0.07), and by the plain majority of
200.
"""

import platform
from pathlib import Path

import lightly
import numpy
import torch
from lightly.utils.benchmarking import knn_predict

HERE = Path(__file__).parent
TRAIN = 320
CLASSES = 6

torch.set_num_threads(1)
generator = numpy.random.default_rng(11)
# Classes of different size: many neighbours favour the large ones, weights help the small ones.
labels = generator.choice(CLASSES, 400, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
features = (generator.normal(size=(CLASSES, 12))[labels] + generator.normal(size=(400, 12))).astype("<f4")
unit = torch.nn.functional.normalize(torch.from_numpy(features).double(), dim=1)
train, test = unit[:TRAIN], unit[TRAIN:]
targets = torch.from_numpy(labels[:TRAIN])

columns = []
for k, temperature in [(200, 0.07), (200, 0.1), (20, 0.07)]:
    predicted = knn_predict(test, train.T, targets, CLASSES, knn_k=k, knn_t=temperature)[:, 0].numpy()
    # The definition of Wu et al. 2018, so that two agree on it.
    similarities = (test @ train.T).numpy()
    near = numpy.argsort(-similarities, axis=1, kind="stable")[:, :k]
    weights = numpy.exp(numpy.take_along_axis(similarities, near, 1) / temperature)
    votes = numpy.stack([(weights * (labels[near] == label)).sum(1) for label in range(CLASSES)], 1)
    assert (votes.argmax(1) == predicted).all()
    columns.append(predicted)
near = numpy.argsort(-(test @ train.T).numpy(), axis=1, kind="stable")[:, :200]
columns.append(numpy.stack([(labels[near] == label).sum(1) for label in range(CLASSES)], 1).argmax(1))
for name, array in [("features", features), ("labels", labels[:, None]), ("classes", numpy.stack(columns, 1))]:
    numpy.save(HERE / f"vote_{name}.npy", numpy.ascontiguousarray(array, dtype="<f4"))
versions = {"python": platform.python_version(), "numpy": numpy.__version__, "torch": torch.__version__}
versions |= {"lightly": lightly.__version__}
(HERE / "vote_versions.txt").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))
truth = labels[TRAIN:]
print([float((column == truth).mean()) for column in columns], [int((column != columns[0]).sum()) for column in columns])
