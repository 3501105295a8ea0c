#!/usr/bin/env python3
"""Scores beside those of pytorch-fid, torch-fidelity and prdc, on the sets of metric_sets.h. Status 77 (skipped) where
none of the packages is installed; test_package_values.c holds the values that they gave.

Usage: test_packages.py PRINT_METRICS [--table]    --table prints the rows of test_package_values.c
"""
import importlib
import os
import re
import subprocess
import sys
import tempfile


def load(name):
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):
        return None


def load_vision():
    """torchvision, which the packages import and these scores do not need. A CPU build of torch refuses the operators
    of a torchvision built for GPUs, unless somebody has declared them."""
    for _ in range(20):
        try:
            import torchvision
            return
        except ImportError:
            return
        except RuntimeError as error:
            missing = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if not missing:
                return
            torch.library.define(missing.group(1), "(Tensor x) -> Tensor")
            for part in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[part]


np = load("numpy")
torch = load("torch")
load_vision()
prdc = load("prdc")
pytorch_fid = load("pytorch_fid.fid_score")
fidelity = {name: load("torch_fidelity.metric_" + name) for name in ("fid", "kid", "prc", "isc")}
SETS = 3


def run(program, *arguments):
    out = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in out.splitlines())}


def of_packages(real, fake):
    """(package, convention, name) -> value, of the packages that are here."""
    found = {}
    if pytorch_fid:
        moments = [(x.astype(np.float64).mean(0), np.cov(x.astype(np.float64), rowvar=False)) for x in (real, fake)]
        found["pytorch-fid", "shortrun", "frechet"] = float(
            pytorch_fid.calculate_frechet_distance(*moments[0], *moments[1]))
    real64, fake64 = (x.astype(np.float64) for x in (real, fake))
    if prdc:
        stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
        try:
            values = prdc.compute_prdc(real64, fake64, 5)
        finally:
            sys.stdout = stdout
        for name, value in values.items():
            found["prdc", "prdc", name] = float(value)
    if torch and all(fidelity.values()):
        a, b = torch.from_numpy(real64), torch.from_numpy(fake64)
        statistics = [fidelity["fid"].fid_features_to_statistics(x) for x in (a, b)]
        found["torch-fidelity", "torch-fidelity", "frechet"] = fidelity["fid"].fid_statistics_to_metric(
            *statistics, False)["frechet_inception_distance"]
        kid = fidelity["kid"].kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=len(real), verbose=False)
        found["torch-fidelity", "torch-fidelity", "kid"] = kid["kernel_inception_distance_mean"]
        # Its first set is the generated one.
        prc = fidelity["prc"].prc_features_to_metric(b, a, prc_neighborhood=3, verbose=False)
        found["torch-fidelity", "torch-fidelity", "precision"] = prc["precision"]
        found["torch-fidelity", "torch-fidelity", "recall"] = prc["recall"]
        isc = fidelity["isc"].isc_features_to_metric(b, splits=1, shuffle=False)
        found["torch-fidelity", "inception", "inception"] = isc["inception_score_mean"]
    return found


def main(program, table):
    if not np or not (prdc or pytorch_fid or all(fidelity.values())):
        print("none of pytorch-fid, torch-fidelity, prdc is installed")
        return 77
    bad = compared = 0
    with tempfile.TemporaryDirectory() as folder:
        real, fake = (os.path.join(folder, name + ".npy") for name in ("real", "fake"))
        for number in range(SETS):
            for name, path in (("real", real), ("fake", fake)):
                subprocess.run([program, str(number), name, path], check=True)
            ours = {name: run(program, name, real, fake) for name in ("shortrun", "prdc", "torch-fidelity")}
            ours["inception"] = run(program, "inception", fake)
            for (package, convention, name), value in of_packages(np.load(real), np.load(fake)).items():
                got = ours[convention][name]
                error = abs(got - value) / abs(value)
                good = error <= (1e-4 if name == "frechet" else 1e-6)
                bad += not good
                compared += 1
                if table:
                    print(f'    {{{number}, "{package}", "{convention}", "{name}", {value!r}}},')
                elif not good:
                    print(f"set {number}: {name} is {got:.12g}, {package} says {value:.12g}")
    print(f"{compared} values compared, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--table" in sys.argv))
