"""Makes the small reference arrays of the embedding tests.

    python make.py

All inputs are synthetic; every array is saved as a two-dimensional little-endian float32 `.npy`.
"""

import sys
from pathlib import Path

import numpy as np
import scipy
import sklearn
import umap
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from umap.umap_ import find_ab_params, fuzzy_simplicial_set, smooth_knn_dist

HERE = Path(__file__).parent
N_NEIGHBORS = 10
K = 7


def save(name, array):
    array = np.asarray(array)
    array = array.reshape(array.shape[0], -1)
    np.save(HERE / f"{name}.npy", np.ascontiguousarray(array, dtype="<f4"))


def main():
    random = np.random.default_rng(0)
    # Five overlapping clusters, away from the origin so that both metrics have something to do.
    labels = random.integers(0, 5, size=120)
    features = (1.0 + random.normal(size=(5, 20))[labels] + 0.7 * random.normal(size=(120, 20))).astype("<f4")
    train, test = features[:100], features[100:]
    save("features", features)
    save("labels", labels)

    for metric in ("cosine", "euclidean"):
        # In float64: the reference is to be exact.
        search = NearestNeighbors(n_neighbors=K, metric=metric, algorithm="brute").fit(train.astype(np.float64))
        distances, indices = search.kneighbors(test.astype(np.float64))
        save(f"knn_{metric}_indices", indices)
        save(f"knn_{metric}_distances", distances)
        classifier = KNeighborsClassifier(n_neighbors=K, metric=metric, algorithm="brute").fit(train, labels[:100])
        save(f"knn_{metric}_classes", classifier.predict(test))

        # umap-learn counts each row as its own first neighbour.
        search = NearestNeighbors(n_neighbors=N_NEIGHBORS, metric=metric, algorithm="brute")
        distances, indices = search.fit(features.astype(np.float64)).kneighbors()
        indices = np.hstack([np.arange(120)[:, None], indices[:, :-1]])
        distances = np.hstack([np.zeros((120, 1)), distances[:, :-1]]).astype(np.float32)
        sigmas, rhos = smooth_knn_dist(distances, float(N_NEIGHBORS))
        save(f"kernels_{metric}", np.stack([sigmas, rhos], axis=1))
        graph, again, _ = fuzzy_simplicial_set(
            features, N_NEIGHBORS, None, metric, knn_indices=indices, knn_dists=distances
        )
        assert np.array_equal(sigmas, again)
        graph = graph.tocoo()
        order = np.lexsort((graph.col, graph.row))
        save(f"graph_{metric}", np.stack([graph.row, graph.col, graph.data], axis=1)[order])

    pca = PCA(n_components=3, svd_solver="full").fit(features)
    projected = pca.transform(features)
    save("pca", projected)
    scores = []
    for metric in ("cosine", "euclidean"):
        scores += [trustworthiness(features, projected, n_neighbors=k, metric=metric) for k in (1, 5, 10, 30)]
    maps = []
    for metric in ("cosine", "euclidean"):
        fitted = umap.UMAP(n_components=3, n_neighbors=N_NEIGHBORS, metric=metric, random_state=42).fit_transform(features)
        maps.append(trustworthiness(features, fitted, n_neighbors=10, metric=metric))
    # As text, because float32 would cost digits.
    numbers = [f"trustworthiness {' '.join(f'{score:.12f}' for score in scores)}"]
    numbers.append(f"umap {' '.join(f'{score:.6f}' for score in maps)}")
    for spread, min_dist in ((1.0, 0.1), (1.0, 0.0), (1.0, 0.5), (1.0, 0.99), (2.0, 0.1), (0.5, 0.25), (3.0, 2.0)):
        a, b = find_ab_params(spread, min_dist)
        numbers.append(f"curve {spread} {min_dist} {a:.9f} {b:.9f}")
    (HERE / "numbers.txt").write_text("\n".join(numbers) + "\n")

    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__}
    versions |= {"scikit-learn": sklearn.__version__, "umap-learn": umap.__version__}
    (HERE / "versions.txt").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))


if __name__ == "__main__":
    main()
