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
            "torch-fidelity": "torch_fidelity.metric_kid", "prdc": "prdc"}
BELOW = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")  # what they stand on


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
    if package != "prdc":
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


CASES = {"pytorch-fid": pytorch_fid, "clean-fid": clean_fid, "torch-fidelity": lambda: torch_fidelity(None, None),
         "torch-fidelity doubles": lambda: torch_fidelity(None, None, np.float64),
         "torch-fidelity subsets": lambda: torch_fidelity(100, 1000), "prdc": prdc}


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
