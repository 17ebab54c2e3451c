"""Makes the references of k-means and of the choice of images to label: `python make_select.py`, with NumPy and
scikit-learn.

`kmeans_labels.npy` and `kmeans_centers.npy` are of scikit-learn's KMeans on `features.npy`, begun at the rows 0, 7, ...,
35. `select_unit.npy` has 300 rows of length 1, `select_groups.npy` their groups by KMeans. `select.txt` has the inertia of the first,
and of the second the rows chosen when no row is labelled (`none`), and when those of `labelled` are (`some`): by the
rules of TypiClust (arXiv 2202.02794, section 3.2), written here anew with scikit-learn's NearestNeighbors.
"""

import platform
from pathlib import Path

import numpy
import sklearn
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

HERE = Path(__file__).parent
features = numpy.load(HERE / "features.npy")
model = KMeans(6, init=features[:36:7].astype("f8"), n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(features.astype("f8"))
numpy.save(HERE / "kmeans_labels.npy", model.labels_[:, None].astype("<f4"))
numpy.save(HERE / "kmeans_centers.npy", model.cluster_centers_.astype("<f4"))

generator = numpy.random.default_rng(5)
kinds = generator.choice(6, 300, p=[0.35, 0.25, 0.2, 0.12, 0.07, 0.01])
rows = generator.normal(size=(6, 8))[kinds] * 2 + generator.normal(size=(300, 8))
unit = (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
groups = KMeans(12, n_init=1, random_state=0).fit_predict(unit.astype("f8"))
numpy.save(HERE / "select_unit.npy", unit)
numpy.save(HERE / "select_groups.npy", groups[:, None].astype("<f4"))


def choose(labelled: list[int], count: int) -> list[int]:
    sizes = numpy.bincount(groups, minlength=12)
    known = numpy.bincount(groups[labelled], minlength=12)
    order = [g for g in sorted(range(12), key=lambda g: (known[g], -sizes[g], g)) if sizes[g] > 5]
    free = groups.copy()
    free[labelled] = -1
    chosen = []
    for turn in range(count):
        members = numpy.flatnonzero(free == order[turn % len(order)])
        neighbours = min(20, len(members) // 2)
        near = NearestNeighbors(n_neighbors=neighbours).fit(unit[members].astype("f8"))
        distances, _ = near.kneighbors()
        best = members[(1 / (distances.mean(1) + 1e-5)).argmax()]
        chosen.append(int(best))
        free[best] = -1
    return chosen


labelled = [0, 1, 2, 17, 40, 200]
lines = [
    f"inertia {model.inertia_!r}",
    "none " + " ".join(map(str, choose([], 25))),
    "labelled " + " ".join(map(str, labelled)),
    "some " + " ".join(map(str, choose(labelled, 18))),
    f"versions python {platform.python_version()} numpy {numpy.__version__} scikit-learn {sklearn.__version__}",
]
(HERE / "select.txt").write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
