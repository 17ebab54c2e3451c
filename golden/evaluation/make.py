"""Makes the reference values of the evaluation tests: `python make.py`, with scikit-learn and PyTorch installed.

A case is stored as counts, [truth, predicted, how many]: none of the figures depends on the order of the samples.
"""

import json
import platform
import warnings
from pathlib import Path

import numpy
import sklearn
import torch
from sklearn.metrics import classification_report, confusion_matrix

HERE = Path(__file__).parent
FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]
generator = numpy.random.default_rng(2026)


def noisy(samples, classes, right):
    """Random truth, and predictions that are right with probability `right`."""
    truth = generator.integers(0, classes, samples)
    guess = generator.integers(0, classes, samples)
    return truth, numpy.where(generator.random(samples) < right, truth, guess)


def from_counts(counts):
    pairs = numpy.repeat([[t, p] for t, p, _ in counts], [n for _, _, n in counts], axis=0)
    return pairs[:, 0], pairs[:, 1]


CASES = []


def case(name, truth, predicted, labels=None, names=None, digits=2):
    """`names` are by label, so that one list serves any choice of labels."""
    truth, predicted = numpy.asarray(truth), numpy.asarray(predicted)
    shown = sorted(set(truth) | set(predicted)) if labels is None else labels
    arguments = dict(labels=labels, target_names=None if names is None else [names[label] for label in shown])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = classification_report(truth, predicted, digits=digits, **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        as_dict = classification_report(truth, predicted, output_dict=True, **arguments)
    pairs, numbers = numpy.unique(numpy.stack([truth, predicted], 1), axis=0, return_counts=True)
    classes = int(max(truth.max(), predicted.max())) + 1
    few = range(classes) if classes <= 10 else None
    CASES.append({
        "name": name,
        "counts": [[int(t), int(p), int(n)] for (t, p), n in zip(pairs, numbers)],
        "labels": labels,
        "names": names,
        "digits": digits,
        "text": text,
        # Text, so that not even the last bit is lost on the way.
        "json": json.dumps(as_dict, separators=(",", ":"), ensure_ascii=False),
        "warnings": [str(warning.message) for warning in caught],
        "confusion": few and confusion_matrix(truth, predicted, labels=few).tolist(),
        "normalised": few and confusion_matrix(truth, predicted, labels=few, normalize="true").tolist(),
    })


def reports():
    case("ten classes, as the article", *noisy(10_000, 10, 0.8))
    case("ten classes, named", *noisy(10_000, 10, 0.6), names=FASHION)
    case("two classes", *noisy(101, 2, 0.7))
    case("three classes", *noisy(50, 3, 0.5))
    case("seven classes", *noisy(333, 7, 0.5))
    case("eight classes", *noisy(333, 8, 0.5))
    case("nine classes", *noisy(1_234, 9, 0.5))
    case("seventeen classes", *noisy(2_001, 17, 0.4))
    case("a hundred and one classes", *noisy(3_000, 101, 0.4))
    case("two hundred classes, two levels of pairwise sums", *noisy(3_000, 200, 0.4), digits=4)
    case("perfect", *[numpy.arange(40) % 10] * 2)
    case("all wrong", [0, 1, 2, 0, 1, 2], [1, 2, 0, 2, 0, 1])
    case("nothing in common", [0, 0, 0], [1, 1, 1])
    case("a class never predicted", [0, 1, 2, 2], [0, 0, 0, 0])
    case("a class that is not in the truth", [0, 0, 1, 1], [0, 2, 1, 2])
    case("both", [0, 0, 1, 3], [0, 2, 2, 2], names=FASHION)
    case("one class", [4] * 9, [4] * 9)
    case("one sample, right", [7], [7])
    case("one sample, wrong", [7], [3])
    case("a gap in the labels", [0, 255, 9, 9], [0, 255, 9, 255])
    case("subset of the labels", *noisy(500, 10, 0.7), labels=[2, 4, 6])
    case("subset, unsorted and named", *noisy(500, 10, 0.7), labels=[6, 0, 9], names=FASHION)
    case("one label of many", *noisy(500, 10, 0.7), labels=[3])
    case("one label, never predicted", [0, 1, 2], [0, 0, 0], labels=[1])
    case("a label that occurs nowhere", [0, 1, 1], [0, 1, 0], labels=[0, 1, 5])
    case("only labels that occur nowhere", [0, 1, 1], [0, 1, 0], labels=[8, 5])
    case("one label that occurs nowhere", [0, 1, 1], [0, 1, 0], labels=[8])
    case("nothing right among the labels", [0, 1, 1, 2], [0, 2, 0, 1], labels=[2, 1])
    case("nothing right at all, subset", [0, 1, 1, 2], [1, 2, 0, 1], labels=[2, 1], digits=3)
    case("all labels, unsorted", *noisy(80, 4, 0.5), labels=[3, 1, 2, 0])
    case("large supports", *from_counts([[0, 0, 150_000], [0, 1, 7], [1, 1, 123_456], [1, 0, 4_321], [2, 0, 1]]))
    case("names longer than the headings", *noisy(60, 3, 0.5), names=["short", "a name that is far too long to be one", ""])
    case("names that are not ASCII", *noisy(60, 4, 0.5), names=["Stiefel für Mädchen", "長靴", "чобіт", "👢 boot"])
    case("no digits", *noisy(777, 5, 0.6), digits=0)
    case("one digit", *noisy(777, 5, 0.6), digits=1)
    case("three digits", *noisy(777, 5, 0.6), digits=3)
    case("four digits", *noisy(777, 5, 0.6), names=FASHION, digits=4)
    case("fifteen digits", *noisy(777, 5, 0.6), digits=15)
    eighths = [[label, other, n] for label in range(4) for other, n in [(label, 2 * label + 1), (9, 7 - 2 * label)]]
    case("ties are rounded to even", *from_counts(eighths))
    case("ties without digits", *from_counts([[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 1]]), digits=0)


def spreads():
    """SimSiam's collapse measure for a few matrices."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spread = torch.randn(64, 16)
    matrices = {
        "spread": spread,
        "shifted": spread + 3.0,
        "collapsed": torch.ones(64, 16) + 1e-3 * spread,
        "rectified": spread.relu(),
        "with a zero row": torch.cat([spread[:7], torch.zeros(1, 16)]),
    }
    measure = lambda z: (torch.nn.functional.normalize(z.double(), dim=1).std(0).mean() * z.shape[1] ** 0.5).item()
    return [
        {"name": name, "dimension": z.shape[1], "outputs": z.flatten().tolist(), "value": measure(z)}
        for name, z in matrices.items()
    ]


reports()
versions = {
    "python": platform.python_version(),
    "numpy": numpy.__version__,
    "scikit-learn": sklearn.__version__,
    "torch": torch.__version__,
}
for name, content in [("reports", CASES), ("spreads", spreads())]:
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in content)
    (HERE / f"{name}.json").write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')
print(len(CASES), "reports;", versions)
