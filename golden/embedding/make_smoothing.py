"""Makes the references of smoothing: `python make_smoothing.py`, with NumPy, SciPy and scikit-learn.

`smoothing_values.npy` holds a row of three shares for each row of `vote_features.npy`; `smoothing_default.npy` and
`smoothing_far.npy` what is left of them after smoothing over (neighbours, temperature, weight, steps) = (15, 0.07, 0.8, 20) and
(4, 0.5, 0.95, 50).
"""

import platform
from pathlib import Path

import numpy
import scipy
import scipy.sparse
import sklearn
from sklearn.neighbors import kneighbors_graph

HERE = Path(__file__).parent
features = numpy.load(HERE / "vote_features.npy").astype(float)
features /= numpy.linalg.norm(features, axis=1, keepdims=True)
values = numpy.random.default_rng(5).dirichlet([0.5] * 3, len(features)).astype("<f4")
numpy.save(HERE / "smoothing_values.npy", values)
for name, neighbours, temperature, weight, steps in [("default", 15, 0.07, 0.8, 20), ("far", 4, 0.5, 0.95, 50)]:
    graph = kneighbors_graph(features, neighbours, mode="distance", metric="cosine", include_self=False)
    graph.data = numpy.exp(-graph.data / temperature)
    graph = graph + graph.T
    graph = scipy.sparse.diags(1 / numpy.asarray(graph.sum(1)).ravel()) @ graph
    smoothed = values.astype(float)
    for _ in range(steps):
        smoothed = weight * (graph @ smoothed) + (1 - weight) * values
    numpy.save(HERE / f"smoothing_{name}.npy", smoothed.astype("<f4"))
(HERE / "smoothing_versions.txt").write_text(
    f"python {platform.python_version()}\nnumpy {numpy.__version__}\nscipy {scipy.__version__}\n"
    f"scikit-learn {sklearn.__version__}\n"
)
