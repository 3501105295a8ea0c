#!/usr/bin/env python3
"""Measures `shortrun evaluate` beside the packages that papers use for sample quality, and prints the table: seconds,
values and peak memory on the same two arrays of random features.

pytorch-fid and clean-fid (Frechet distance), torch-fidelity (KID), prdc (precision, recall, density, coverage); for the
scores that these do not have the usual way to them: pytorch-fid at 15 sizes, vendi-score, POT, scikit-learn. In each
round everybody is measured in turn, each in a process of its own with its default threads. Of a package only the call
itself is timed, on arrays in memory; of shortrun the same, and all of the command, from start to exit, reading the
files included.

scripts/peers/setup makes the Python that has the packages. What is missing stands in the table with the reason.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from compare import ROOT, machine, say, write
from table import aligned

PATIENCE = 3600.0  # seconds that one measurement may take
TARGET_SHARE = 0.1  # of the packages' time together, for all metrics of shortrun
TOLERANCE = {"frechet": 1e-4}  # relative; of the others:
TOLERANCE_OTHERS = 1e-6
WORKER = Path(__file__).with_name("quality_worker.py")
PRDC = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Case:
    """A function of a package, and the metrics of shortrun that it computes."""

    name: str  # as quality_worker.py knows it
    package: str
    function: str
    metrics: tuple[str, ...]
    part: str  # of the work; of each part the fastest package counts in the sum
    unlike: str = ""  # why its number need not be shortrun's to the last digits
    core: bool = True  # of the packages that the target names


CASES = (
    Case("pytorch-fid", "pytorch-fid", "calculate_frechet_distance", ("frechet",), "Frechet"),
    Case("clean-fid", "clean-fid", "fid_from_feats", ("frechet",), "Frechet"),
    Case("torch-fidelity", "torch-fidelity", "kid_features_to_metric, all rows", ("kid",), "KID", unlike="in float32"),
    Case("torch-fidelity doubles", "torch-fidelity", "the same in float64", ("kid",), "KID"),
    Case("torch-fidelity subsets", "torch-fidelity", "kid_features_to_metric, 100 x 1000", ("kid",), "KID",
         unlike="another estimate"),
    Case("prdc", "prdc", "compute_prdc", PRDC, "prdc"),
    Case("frechet infinity", "pytorch-fid", "calculate_frechet_distance, 15 sizes", ("frechet_infinity",),
         "FD infinity", unlike="another shuffle", core=False),
    Case("vendi", "vendi-score", "score_dual", ("vendi",), "Vendi", core=False),
    Case("sliced", "POT", "sliced_wasserstein_distance, 128", ("sliced_w2",), "sliced W2", unlike="other directions",
         core=False),
    Case("mmd", "scikit-learn", "rbf_kernel, three times", ("mmd2_rbf",), "MMD", unlike="in float32", core=False),
    Case("energy", "scikit-learn", "euclidean_distances, three times", ("energy_distance",), "energy distance",
         unlike="in float32", core=False),
    Case("nearest", "scikit-learn", "NearestNeighbors of both", ("one_nn_accuracy",), "1-NN", core=False),
    Case("classifier", "scikit-learn", "LogisticRegression on halves", ("c2st_accuracy",), "two-sample test",
         unlike="other halves", core=False),
)
SAME = ("frechet", "kid", *PRDC)  # what the packages compute together
OURS = (*dict.fromkeys(case.metrics for case in CASES), SAME, ("all",))  # what shortrun is called with
BARE = ("--no-errors",)  # and once without intervals, which the packages do not compute


class Failed(Exception):
    """A measurement that could not be made; the text stands in the table."""


# ---- processes ----------------------------------------------------------------------------------------------------


def run(command: list, environment: dict) -> tuple[str, float, float]:
    """Output, seconds from start to exit, peak memory in MB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+", errors="replace") as log:
        start = time.perf_counter()
        try:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=log, env=environment)
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from None
        late = threading.Timer(PATIENCE, process.kill)
        late.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            late.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        if process.returncode:
            said = log.read().strip().splitlines()
            raise Failed(said[-1].removeprefix("shortrun: ") if said else f"status {process.returncode}")
        out.seek(0)
        return out.read(), seconds, usage.ru_maxrss * 1024 / 1e6


def ask_worker(options, *words) -> tuple[dict, float]:
    """Its answer, and peak memory in MB."""
    # These settings help old builds of OpenBLAS over new CPUs and slow the current builds that numpy brings.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    text, _, peak = run([options.python, "-B", WORKER, *words], environment)
    try:
        answer = json.loads(text)
    except ValueError:
        raise Failed(f"no answer: {text[:100]!r}") from None
    if "error" in answer:
        raise Failed(answer["error"])
    return answer, peak


def answer_of(text: str) -> tuple[dict[str, float], float]:
    """Values, and seconds of the scores alone, of the JSON that shortrun evaluate prints."""
    try:
        answer = json.loads(text)
        return ({name: float("nan" if entry["value"] is None else entry["value"])
                 for name, entry in answer["metrics"].items()}, float(answer["seconds"]["scores"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed(f"shortrun evaluate: cannot read its JSON ({type(error).__name__}: {error})") from None


# ---- units ------------------------------------------------------------------------------------------------------


class Unit:
    """One thing that is measured once a round."""

    def __init__(self, who: str, name: str, measure):
        # () -> (seconds of the call, of the command or None, values, peak memory)
        self.who, self.name, self.measure = who, name, measure
        self.seconds: list[float] = []
        self.command: list[float] = []
        self.peak: list[float] = []
        self.values: dict[str, float] = {}
        self.error: str | None = None

    def take_round(self) -> None:
        if self.error is not None:
            return
        try:
            seconds, command, self.values, peak = self.measure()
        except Failed as error:
            self.error = str(error)
            say(f"   {self.who} {self.name}: {error}")
            return
        self.seconds.append(seconds)
        self.peak.append(peak)
        if command is not None:
            self.command.append(command)
        say(f"   {self.who} {self.name}: {seconds:.3g} s")

    def record(self) -> dict:
        record = {"who": self.who, "name": self.name, "seconds": self.seconds, "peak_mb": self.peak,
                  "values": {name: value if math.isfinite(value) else None for name, value in self.values.items()}}
        if self.command:
            record["command_seconds"] = self.command
        return record if self.error is None else {**record, "error": self.error}


def package_unit(case: Case, folder: str, missing: dict, options) -> Unit:
    def measure():
        answer, peak = ask_worker(options, case.name, folder, options.k)
        return answer["seconds"], None, answer["values"], peak

    unit = Unit("package", case.name, measure)
    unit.error = missing.get(case.package)
    return unit


def our_name(metrics: tuple[str, ...], more: tuple[str, ...] = ()) -> str:
    return " ".join((",".join(metrics), *more))


def our_unit(metrics: tuple[str, ...], more: tuple[str, ...], folder: str, options) -> Unit:
    command = [options.shortrun, "evaluate", "--real", f"{folder}/real.npy", "--fake", f"{folder}/fake.npy",
               "--features", "none", "--metrics", ",".join(metrics), *more, "--k", options.k, "--format", "json",
               "--timings"]

    def measure():
        text, seconds, peak = run(command, dict(os.environ))
        values, call = answer_of(text)
        return call, seconds, values, peak

    return Unit("shortrun", our_name(metrics, more), measure)


def compare(options, cases: tuple[Case, ...] = CASES, ours: tuple[tuple[str, ...], ...] = OURS) -> dict:
    if os.getloadavg()[0] > 0.5:
        say(f"the machine is busy (load {os.getloadavg()[0]:.1f}): the ratios mean little")
    if not os.access(options.python, os.X_OK) and os.sep in options.python:
        raise Failed(f"no Python {options.python} (scripts/peers/setup makes it)")
    answer, _ = ask_worker(options, "versions")
    missing = {package: f"not installed: {why}" for package, why in answer["missing"].items()}
    report = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine(), "versions": answer["versions"],
              "settings": {key: getattr(options, key) for key in ("rows", "dim", "rounds", "k", "seed")}}
    with tempfile.TemporaryDirectory(prefix="shortrun-quality.") as folder:
        say(f"== two sets of {options.rows} x {options.dim}")
        ask_worker(options, "data", folder, options.rows, options.dim, options.seed)
        units = [our_unit(metrics, (), folder, options) for metrics in ours]
        units += [our_unit(SAME, BARE, folder, options)] if SAME in ours else []
        units += [package_unit(case, folder, missing, options) for case in cases]
        for number in range(1, options.rounds + 1):
            say(f"== round {number} of {options.rounds}")
            for unit in units:
                unit.take_round()
    report["units"] = [unit.record() for unit in units]
    return report


# ---- the table --------------------------------------------------------------------------------------------------


def find(report: dict, who: str, name: str) -> dict:
    for unit in report["units"]:
        if (unit["who"], unit["name"]) == (who, name):
            return unit
    return {"seconds": [], "peak_mb": [], "values": {}, "error": "not measured"}


def seconds_of(unit: dict, key: str = "seconds") -> float | None:
    return statistics.median(unit[key]) if unit.get(key) else None


def peak_of(unit: dict) -> float | None:
    return max(unit["peak_mb"]) if unit["peak_mb"] else None


def number(value: float | None, form: str = ".3g") -> str:
    return "-" if value is None else format(value, form)


def spread(unit: dict, key: str = "seconds") -> str:
    if not unit.get(key):
        return "-"
    low, high = min(unit[key]), max(unit[key])
    return number(seconds_of(unit, key)) + (f" ({low:.3g} to {high:.3g})" if len(unit[key]) > 1 else "")


def ratio(theirs: float | None, ours: float | None) -> str:
    return f"{theirs / ours:.2f}" if theirs is not None and ours else "-"


def time_rows(report: dict) -> list[list[str]]:
    rows = []
    for case in CASES:
        theirs = find(report, "package", case.name)
        ours = find(report, "shortrun", our_name(case.metrics))
        rows.append([case.package, case.function, spread(theirs), ", ".join(case.metrics), spread(ours),
                     spread(ours, "command_seconds"), ratio(seconds_of(theirs), seconds_of(ours)),
                     number(peak_of(theirs), ".0f"), number(peak_of(ours), ".0f")])
    return rows


def part_of(case: Case, everything: bool) -> str:
    """KID of subsets may stand for KID where that alone is asked for; it is a metric of its own."""
    return "KID subsets" if everything and "subsets" in case.name else case.part


def together(report: dict, which: str = "core") -> tuple[float | None, float | None, list[str]]:
    """Seconds of the fastest package for each part, added up; the largest of their peaks; which they are. which: core,
    the packages that the target names; same, of these the ones whose numbers are shortrun's; all, everything."""
    total, peak, names = 0.0, 0.0, []
    cases = [case for case in CASES if which == "all" or (case.core and not (which == "same" and case.unlike))]
    for part in dict.fromkeys(part_of(case, which == "all") for case in cases):
        measured = [unit for case in cases if part_of(case, which == "all") == part
                    for unit in [find(report, "package", case.name)] if unit["seconds"]]
        if not measured:
            return None, None, names
        fastest = min(measured, key=seconds_of)
        total += seconds_of(fastest)
        peak = max(peak, peak_of(fastest))
        names.append(fastest["name"])
    return total, peak, names


SUMS = (("core", "the fastest of each part", (SAME, ("all",))),
        ("same", "the fastest whose number is shortrun's", (SAME, ("all",))),
        ("all", "the fastest of each part, all metrics", (("all",),)))


def share(report: dict, metrics: tuple[str, ...], more: tuple[str, ...], label: str, total: float) -> list[str]:
    """What shortrun takes of the packages' seconds; empty where it was not measured."""
    unit = find(report, "shortrun", our_name(metrics, more))
    seconds, command = seconds_of(unit), seconds_of(unit, "command_seconds")
    if seconds is None:
        return []
    whole = f", the whole command {command / total:.3f} ({number(command)} s)" if command else ""
    met = "met" if seconds <= TARGET_SHARE * total else "not met"
    return [f"{label} {seconds / total:.3f} ({number(seconds)} s): {met}{whole}"]


def speed_lines(report: dict) -> list[str]:
    """Shares of the packages' time: of the metrics that they compute, and of all that shortrun has."""
    lines = [f"Speed; target: at most {TARGET_SHARE:g} of the packages' time together.", ""]
    labels = {SAME: (((*BARE,), "the same metrics without intervals, as the packages,"), ((), "with intervals")),
              ("all",): (((), "all metrics with intervals"),)}
    for which, what, asked in SUMS:
        total, _, names = together(report, which)
        if total is None:
            lines.append(f"- {what}: not measured.")
            continue
        shares = []
        for metrics in asked:
            for more, label in labels[metrics]:
                shares += share(report, metrics, more, label, total)
        lines.append(f"- {', '.join(names)}: {what} ({number(total)} s): {'; '.join(shares) or 'not measured'}.")
    return [*lines, ""]


def target_lines(report: dict) -> list[str]:
    """Speed: a tenth of the packages' time. Memory: below one n x n matrix of doubles beside the two arrays, as tiles
    need none."""
    rows, dim = report["settings"]["rows"], report["settings"]["dim"]
    peak = peak_of(find(report, "shortrun", "all"))
    lines = speed_lines(report)
    limit = (8 * rows * rows + 2 * 4 * rows * dim) / 1e6
    if peak is not None and limit > 500:  # below, the program itself is the larger part
        met = "met" if peak < limit else "not met"
        lines.append(f"Memory: {peak:.0f} MB for all metrics; target: less than the two arrays and one {rows} x {rows} "
                     f"matrix of doubles, {limit:.0f} MB: {met}.")
    else:
        lines.append("Memory: target less than the two arrays and one n x n matrix of doubles; not judged at this "
                     "size.")
    return lines


def relative_difference(theirs: float, ours: float) -> float:
    return abs(theirs - ours) / max(abs(theirs), sys.float_info.min) if theirs != ours else 0.0


def value_rows(report: dict) -> list[list[str]]:
    everything = find(report, "shortrun", "all")["values"]
    rows = []
    for case in CASES:
        values = find(report, "package", case.name)["values"]
        for metric in case.metrics:
            theirs, ours = values.get(metric), everything.get(metric)
            if theirs is None or ours is None:
                continue
            tolerance = TOLERANCE.get(metric, TOLERANCE_OTHERS)
            difference = relative_difference(theirs, ours)
            rows.append([metric, f"{case.package} {case.function}", f"{theirs:.9g}", f"{ours:.9g}", f"{difference:.1e}",
                         "-" if case.unlike else f"{tolerance:g}",
                         case.unlike or ("yes" if difference <= tolerance else "no")])
    return rows


def markdown(report: dict) -> str:
    settings, host = report["settings"], report["machine"]
    rows = time_rows(report)
    for which, metrics, more, name in (("core", SAME, BARE, "the same, no intervals"), ("core", SAME, (), "the same"),
                                       ("core", ("all",), (), "all"), ("all", ("all",), (), "all")):
        total, peak, names = together(report, which)
        ours = find(report, "shortrun", our_name(metrics, more))
        who = " + ".join(names) or "-" if which == "core" else "all of them"
        rows.append(["together", who, number(total), name, spread(ours), spread(ours, "command_seconds"),
                     ratio(total, seconds_of(ours)), number(peak, ".0f"), number(peak_of(ours), ".0f")])
    rounds = f"median (smallest to largest) of {settings['rounds']} rounds" if settings["rounds"] > 1 else "one round"
    parts = ["# shortrun evaluate beside its peers", "",
             ", ".join([host.get("cpu", "unknown CPU"), f"{host.get('cpus')} CPUs", report["date"],
                        f"load {host['load'][0]:.1f} at the start",
                        *(f"{name} {version}" for name, version in report["versions"].items())]) + ".", "",
             f"Two sets of {settings['rows']} x {settings['dim']} random features in float32, k = {settings['k']}. "
             f"Seconds: {rounds}, of the call alone, on arrays in memory; of shortrun also of the whole command, from "
             "start to exit, reading the files included. Ratio: the package's call over shortrun's. MB: peak memory of "
             "the process, for packages with Python and PyTorch. Together: the fastest package of each part, one after "
             "the other.", "",
             aligned([["package", "function", "s", "shortrun", "s", "command s", "ratio", "MB", "shortrun MB"], *rows]),
             "",
             *target_lines(report)]
    agreement = value_rows(report)
    if agreement:
        parts += ["", "## Agreement", "",
                  aligned([["metric", "package", "value", "shortrun", "relative difference", "target", "met"],
                           *agreement])]
    reasons = [f"- {unit['who']} {unit['name']}: {unit['error']}" for unit in report["units"] if unit.get("error")]
    parts += ["", "Not measured:", "", *reasons] if reasons else []
    return "\n".join(parts) + "\n"


# ---- the program ------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shortrun", default=str(ROOT / "build/src/cli/shortrun"), metavar="PATH",
                        help="the program (default: build/src/cli/shortrun)")
    parser.add_argument("--python", default=str(ROOT / ".peers/bin/python"), metavar="PATH",
                        help="the Python that has the packages (default: .peers/bin/python)")
    parser.add_argument("--rows", type=int, default=10000, help="of each set (default: 10000)")
    parser.add_argument("--dim", type=int, default=2048, help="of the features (default: 2048)")
    parser.add_argument("--k", type=int, default=5, help="neighbours of precision and its like (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seed", type=int, default=1, help="of the features (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", dest="output", help="write all measurements as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source",
                        help="measure nothing: the table of a JSON that was written before")
    options = parser.parse_args()
    if options.rows < 100 or options.dim < 8 or options.rounds < 1 or not 1 <= options.k < 50 or options.seed < 0:
        parser.error("--rows is at least 100, --dim at least 8, --rounds at least 1, --k from 1 to 49, --seed at "
                     "least 0")
    return options


def main() -> int:
    options = arguments()
    try:
        report = json.loads(options.source.read_text()) if options.source else compare(options)
    except (OSError, ValueError, Failed) as error:
        print(f"quality.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.output:
        write(options.output, json.dumps(report, indent=1) + "\n")
    text = markdown(report)
    if options.table:
        write(options.table, text)
    print(text, end="")
    return 0 if any(unit["seconds"] for unit in report["units"]) else 1


if __name__ == "__main__":
    sys.exit(main())
