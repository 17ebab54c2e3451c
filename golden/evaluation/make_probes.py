"""Makes the reference values of the probes on frozen features: `python make_probes.py`, with scikit-learn and PyTorch.

`probe_features.npy` holds 240 synthetic rows, the first 180 to learn from; `probes.json` what is expected of them.
"""

import json
import platform
from pathlib import Path

import numpy
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
TRAIN = 180
COLUMNS = 20
CLASSES = 7

generator = numpy.random.default_rng(2026)
labels = generator.integers(0, CLASSES, 240)
# Overlapping clusters; columns of different size and offset, one of them constant, some rectified.
features = generator.normal(size=(CLASSES, COLUMNS))[labels] + 1.5 * generator.normal(size=(240, COLUMNS))
features = (features * numpy.geomspace(0.1, 10, COLUMNS) + numpy.linspace(-5, 20, COLUMNS)).astype("<f4")
features[:, 3] = 4.5
features[:, 8:12] = features[:, 8:12].clip(features[:, 8:12].mean(0))
train, test = features[:TRAIN].astype(float), features[TRAIN:].astype(float)


def regression(c):
    return LogisticRegression(C=c, tol=1e-10, max_iter=100_000)


def fits():
    cases = []
    for name, classes, standardize, c in [
        ("strong", CLASSES, True, 1e-3),
        ("default", CLASSES, True, 1.0),
        ("weak", CLASSES, True, 100.0),
        ("as they come", CLASSES, False, 0.1),
        ("two classes", 2, True, 1.0),
    ]:
        rows = labels[:TRAIN] < classes
        scaler = StandardScaler().fit(train[rows]) if standardize else StandardScaler(with_mean=False, with_std=False)
        inputs, targets = scaler.fit_transform(train[rows]), labels[:TRAIN][rows]
        model = regression(c).fit(inputs, targets)
        squares = (model.coef_**2).sum()
        loss = log_loss(targets, model.predict_proba(inputs)) + squares / (2 * c * len(targets))
        probabilities = model.predict_proba(scaler.transform(test))
        cases.append({
            "name": name, "classes": classes, "standardize": standardize, "c": c, "loss": loss,
            "probabilities": [[round(value, 7) for value in row] for row in probabilities.tolist()],
        })
    return cases


def folds():
    """Scores of a grid with given folds: all rows are predicted once, and the predictions scored together."""
    fold = generator.permutation(numpy.arange(TRAIN) % 5)
    grid = [1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2]
    cases = []
    for c in grid:
        model = make_pipeline(StandardScaler(), regression(c))
        truth = labels[:TRAIN]
        shares = cross_val_predict(model, train, truth, cv=PredefinedSplit(fold), method="predict_proba")
        predicted = numpy.unique(truth)[shares.argmax(axis=1)]
        cases.append({
            "c": c, "predicted": predicted.tolist(), "accuracy": accuracy_score(truth, predicted),
            "macro_f1": f1_score(truth, predicted, average="macro"), "neg_log_loss": -log_loss(truth, shares),
        })
    return {"folds": fold.tolist(), "grid": cases}


def measures():
    """Alignment and uniformity (Wang and Isola 2020) and RankMe (Garrido et al. 2023), by their definitions."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    base = torch.randn(40, 12)
    matrices = {
        "spread": base,
        "wide": torch.randn(9, 30),
        "rectified": base.relu(),
        "shifted": base + 3.0,
        "of rank two": base[:, :2] @ torch.randn(2, 12),
        "collapsed": torch.ones(40, 12) + 1e-3 * base,
    }
    cases = []
    for name, rows in matrices.items():
        pairs = rows + 0.3 * torch.randn_like(rows)
        left, right = (torch.nn.functional.normalize(x.double(), dim=1) for x in (rows, pairs))
        shares = torch.linalg.svdvals(rows.double())
        shares = shares / shares.sum()
        shares = shares[shares > 0]
        cases.append({
            "name": name,
            "dimension": rows.shape[1],
            "rows": rows.flatten().tolist(),
            "pairs": pairs.flatten().tolist(),
            "alignment": (left - right).norm(p=2, dim=1).pow(2).mean().item(),
            "uniformity": torch.pdist(left, p=2).pow(2).mul(-2).exp().mean().log().item(),
            "effective_rank": (-(shares * shares.log()).sum()).exp().item(),
        })
    return cases


numpy.save(HERE / "probe_features.npy", features)
content = {
    "versions": {
        "python": platform.python_version(), "numpy": numpy.__version__, "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    },
    "train": TRAIN,
    "labels": labels.tolist(),
    "fits": fits(),
    "cross_validation": folds(),
    "measures": measures(),
}
(HERE / "probes.json").write_text(
    "{" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items()) + "}\n"
)
