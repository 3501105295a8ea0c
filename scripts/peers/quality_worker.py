#!/usr/bin/env python3
"""One step of quality.py in a process of its own, so that its peak memory is known; the answer is a line of JSON.

    quality_worker.py data FOLDER ROWS DIM SEED       writes real.npy and fake.npy: {}
    quality_worker.py versions                        {"versions": {package: version}, "missing": {package: why}}
    quality_worker.py CASE FOLDER K                   {"seconds": of the call alone, "values": {metric: value}}

Packages are called as their own command-line tools call them once features are there. What is not timed: starting,
importing, reading the files, and one call on 64 rows, in which libraries start their threads.
"""
from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
import warnings

import numpy as np

WARM_ROWS = 64
PACKAGES = {"pytorch-fid": "pytorch_fid.fid_score", "clean-fid": "cleanfid.fid",
            "torch-fidelity": "torch_fidelity.metric_kid", "prdc": "prdc", "vendi-score": "vendi_score.vendi",
            "POT": "ot", "scikit-learn": "sklearn.neighbors"}
BELOW = ("torch", "torchvision", "numpy", "scipy")  # what they stand on


def load_torchvision() -> None:
    """Two of the packages import torchvision, whose build on PyPI is CUDA's: beside PyTorch's CPU build its operators
    do not load, and it refuses to be imported. Nothing measured here uses them; declared by name they do no harm."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        load_torchvision.library = torch.library.Library("torchvision", "DEF")  # lives as long as the process
        for name in ("nms", "qnms"):
            load_torchvision.library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def module_of(package: str):
    if package in ("pytorch-fid", "clean-fid", "torch-fidelity"):
        load_torchvision()
    return importlib.import_module(PACKAGES[package])


# ---- the calls: (real, fake, k) -> {shortrun's name of the metric: value} ------------------------------------------


def pytorch_fid():
    package = module_of("pytorch-fid")

    def call(real, fake, k):  # as calculate_activation_statistics
        (mean, covariance), (mean_fake, covariance_fake) = ((np.mean(x, axis=0), np.cov(x, rowvar=False))
                                                            for x in (real, fake))
        return {"frechet": package.calculate_frechet_distance(mean, covariance, mean_fake, covariance_fake)}

    return call, np.float64  # its get_activations collects features in an array of doubles


def clean_fid():
    package = module_of("clean-fid")
    return lambda real, fake, k: {"frechet": package.fid_from_feats(real, fake)}, np.float32


def torch_fidelity(subsets: int | None, size: int | None, dtype=np.float32):
    """None: one subset of all rows, which is shortrun's KID."""
    package = module_of("torch-fidelity")
    import torch

    def call(real, fake, k):
        rows = min(len(real), len(fake))
        answer = package.kid_features_to_metric(torch.from_numpy(real), torch.from_numpy(fake), verbose=False,
                                                kid_subsets=subsets or 1, kid_subset_size=min(rows, size or rows))
        return {"kid": answer[package.KEY_METRIC_KID_MEAN]}

    return call, dtype


def prdc():
    package = module_of("prdc")
    return lambda real, fake, k: package.compute_prdc(real, fake, nearest_k=k), np.float32


# ---- for what these packages do not have ---------------------------------------------------------------------------


def frechet_infinity():
    """As dgm-eval: a line in 1 / n through the distances of 15 numbers of fake rows."""
    package = module_of("pytorch-fid")

    def call(real, fake, k):
        order, rows = np.random.default_rng(1).permutation(len(fake)), len(fake)
        sizes = np.linspace(min(5000, max(2, rows // 2)), rows, 15).astype(int)
        mean, covariance = np.mean(real, axis=0), np.cov(real, rowvar=False)
        distances = []
        for size in sizes:
            some = fake[order[:size]]
            distances.append(package.calculate_frechet_distance(mean, covariance, np.mean(some, axis=0),
                                                                np.cov(some, rowvar=False)))
        return {"frechet_infinity": np.polyfit(1 / sizes, distances, 1)[1]}

    return call, np.float64


def vendi():
    package = module_of("vendi-score")
    return lambda real, fake, k: {"vendi": package.score_dual(fake)}, np.float64


def sliced():
    package = module_of("POT")
    return lambda real, fake, k: {"sliced_w2": package.sliced_wasserstein_distance(real, fake, n_projections=128,
                                                                                   seed=1)}, np.float32


def three_means(pairs, real, fake):
    """Of a function of pairs: between the sets, and within each, its own rows not counted."""
    n, m = len(real), len(fake)
    within = [float(np.sum(pairs(x, x), dtype=np.float64)) for x in (real, fake)]
    return float(np.mean(pairs(real, fake), dtype=np.float64)), within[0], within[1], n, m


def mmd():
    module_of("scikit-learn")
    from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

    def call(real, fake, k):
        spaced = [x[np.arange(min(len(x), 2048)) * len(x) // min(len(x), 2048)] for x in (real, fake)]
        gamma = 1 / (2 * float(np.median(euclidean_distances(*spaced))) ** 2)
        between, a, b, n, m = three_means(lambda x, y: rbf_kernel(x, y, gamma=gamma), real, fake)
        return {"mmd2_rbf": (a - n) / (n * (n - 1)) + (b - m) / (m * (m - 1)) - 2 * between}

    return call, np.float32


def energy():
    module_of("scikit-learn")
    from sklearn.metrics.pairwise import euclidean_distances

    def call(real, fake, k):
        between, a, b, n, m = three_means(euclidean_distances, real, fake)
        return {"energy_distance": 2 * between - a / n**2 - b / m**2}

    return call, np.float32


def nearest():
    package = module_of("scikit-learn")

    def call(real, fake, k):
        rows = min(len(real), len(fake))
        both, label = np.concatenate([real[:rows], fake[:rows]]), np.repeat([0, 1], rows)
        other = package.NearestNeighbors(n_neighbors=1, algorithm="brute").fit(both).kneighbors(return_distance=False)
        return {"one_nn_accuracy": np.mean(label[other[:, 0]] == label)}

    return call, np.float32


def classifier():
    module_of("scikit-learn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def call(real, fake, k):
        random, rows = np.random.default_rng(1), min(len(real), len(fake))
        orders = [random.permutation(rows) for _ in range(2)]
        train, test = ([np.concatenate([x[order[part]] for x, order in zip((real, fake), orders)]),
                        np.repeat([0, 1], len(orders[0][part]))] for part in (slice(rows // 2), slice(rows // 2, rows)))
        scaler = StandardScaler().fit(train[0])
        fitted = LogisticRegression(max_iter=60).fit(scaler.transform(train[0]), train[1])
        return {"c2st_accuracy": fitted.score(scaler.transform(test[0]), test[1])}

    return call, np.float32


CASES = {"pytorch-fid": pytorch_fid, "clean-fid": clean_fid, "torch-fidelity": lambda: torch_fidelity(None, None),
         "torch-fidelity doubles": lambda: torch_fidelity(None, None, np.float64),
         "torch-fidelity subsets": lambda: torch_fidelity(100, 1000), "prdc": prdc,
         "frechet infinity": frechet_infinity, "vendi": vendi, "sliced": sliced, "mmd": mmd, "energy": energy,
         "nearest": nearest, "classifier": classifier}


def measure(case: str, folder: str, k: int) -> dict:
    call, dtype = CASES[case]()
    real, fake = (np.load(f"{folder}/{name}.npy").astype(dtype, copy=False) for name in ("real", "fake"))
    call(real[:WARM_ROWS, :8].copy(), fake[:WARM_ROWS, :8].copy(), k)
    start = time.perf_counter()
    values = call(real, fake, k)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "values": {name: float(value) for name, value in values.items()}}


# ---- data and versions ------------------------------------------------------------------------------------------


def make_data(folder: str, rows: int, dim: int, seed: int) -> None:
    """Two sets of correlated, skewed features with a shift: a mixture of directions whose deviations fall like 1 / i,
    through softplus. The second set's mixture differs a little from the first's."""
    random = np.random.default_rng(seed)
    deviations = 4 / np.arange(1, dim + 1, dtype=np.float32)
    mixture = random.standard_normal((dim, dim), np.float32)
    other = mixture + np.float32(0.1) * random.standard_normal((dim, dim), np.float32)
    for name, mix, shift in (("real", mixture, 0.0), ("fake", other, 0.1)):
        x = (random.standard_normal((rows, dim), np.float32) * deviations) @ mix
        np.save(f"{folder}/{name}.npy", np.logaddexp(np.float32(0), x / np.float32(4)) + np.float32(shift))


def versions() -> dict:
    found, missing = {}, {}
    for package in PACKAGES:
        try:
            module_of(package)
            found[package] = importlib.metadata.version(package)
        except Exception as error:  # the reason stands in the table
            missing[package] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    for package in BELOW:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return {"versions": found, "missing": missing}


def main() -> None:
    warnings.simplefilter("ignore")  # scipy's of what the packages call
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print belongs to the log
    what, *rest = sys.argv[1:]
    try:
        if what == "data":
            answer = make_data(rest[0], *map(int, rest[1:])) or {}
        elif what == "versions":
            answer = versions()
        else:
            answer = measure(what, rest[0], int(rest[1]))
    except Exception as error:  # the reason stands in the table
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
