#!/usr/bin/env python3
"""Measures shortrun beside PyTorch, JAX, torchebm and ebmkit, and prints the table.

All do the same work with the same number of threads. In each round everybody is measured in turn, so that a
machine that slows down slows all of them. After the first round a peer's forms that are more than 1.5 times slower
than its best are dropped; they stay in the JSON.

scripts/peers/setup makes the Python that has the peers. What cannot be measured stands in the table with the reason.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import shortrun
import table
import workers
from cases import LARGER, PEERS, WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0  # seconds that one request may take, compiling included
PAUSE = 0.1  # between two measurements: OpenMP's threads spin on for some milliseconds


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Unit:
    """One thing that is measured once a round."""

    def __init__(self, workload: str, who: str, precision: str, form: str, threads: int, measure):
        self.key = {"workload": workload, "who": who, "precision": precision, "form": form, "threads": threads}
        self.measure = measure  # () -> {"ms": ..., "details": ...}
        self.ms: list[float] = []
        self.dropped, self.error, self.details = False, None, {}

    def take_round(self) -> None:
        try:
            answer = self.measure()
        except (shortrun.Failed, workers.Failed) as error:
            self.error = str(error)
            return
        self.ms.append(answer["ms"])
        self.details = answer.get("details") or self.details
        time.sleep(PAUSE)

    @property
    def alive(self) -> bool:
        return not self.dropped and self.error is None

    def record(self) -> dict:
        record = {**self.key, "ms": self.ms, "dropped": self.dropped, "details": self.details}
        return record if self.error is None else {**record, "error": self.error}


# ---- who is measured --------------------------------------------------------------------------------------------


def our_units(name: str, options) -> list[Unit]:
    workload, units = WORKLOADS[name], []
    binaries = [(engine, engine, options.shortrun) for engine in ("native", "onednn")]
    if options.shortrun_onednn3:
        binaries.append(("onednn3", "onednn", options.shortrun_onednn3))

    def add(precision: str, form: str, engine: str, binary: str, threads: int) -> None:
        units.append(Unit(name, "shortrun", precision, form, threads,
                          lambda: shortrun.measure(binary, workload, engine, precision, threads, options.seconds,
                                                   PATIENCE)))

    for precision in workload.ours:
        for form, engine, binary in binaries:
            add(precision, form, engine, binary, options.threads)
        if precision in workload.one_thread and options.threads > 1:
            add(precision, options.engine, options.engine, options.shortrun, 1)
    return units


def prepared(worker, name: str, precision: str, form: str, options) -> Unit:
    peer = worker.peer
    unit = Unit(name, peer, precision, form, options.threads,
                lambda: worker.ask("measure", workload=name, form=form, seconds=options.seconds))
    try:
        seconds = worker.ask("prepare", workload=name, form=form)["seconds"]
        say(f"   {peer} {form}: ready after {seconds:.1f} s")
    except workers.Failed as error:
        unit.error = str(error)
        say(f"   {peer} {form}: {error}")
    return unit


def peer_units(name: str, worker, options) -> list[Unit]:
    units = []
    for precision in WORKLOADS[name].theirs:
        forms = worker.ask("forms", workload=name, precision=precision)["forms"]
        units += [prepared(worker, name, precision, form, options) for form in forms]
    return units


def missing_peer(name: str, peer: str, why: str, options) -> list[Unit]:
    """What stands in the table for a peer that is not there or does not answer."""
    units = [Unit(name, peer, precision, "-", options.threads, None) for precision in WORKLOADS[name].theirs]
    for unit in units:
        unit.error = why
    return units


def drop_slow(units: list[Unit], found: dict) -> None:
    """After the first round: a peer's forms that cannot become its best. Who looks slow is measured once more, as
    the machine may have been busy just then."""
    best: dict[tuple, float] = {}
    for unit in filter(lambda u: u.ms, units):
        group = (unit.key["who"], unit.key["precision"])
        best[group] = min(best.get(group, unit.ms[0]), unit.ms[0])
    for unit in units:
        who = unit.key["who"]
        limit = LARGER * best.get((who, unit.key["precision"]), 0.0)
        if who == "shortrun" or not unit.alive or unit.ms[0] <= limit:
            continue
        unit.take_round()
        fastest = min(unit.ms)
        unit.dropped = fastest > limit
        unit.ms = [fastest]
        if unit.dropped:
            found[who].ask("forget", form=unit.key["form"])


# ---- the comparison ---------------------------------------------------------------------------------------------


def measure_workload(name: str, found: dict, absent: dict, options) -> list[Unit]:
    say(f"== {WORKLOADS[name].title}")
    units = our_units(name, options)
    for peer in options.peers:
        try:
            units += peer_units(name, found[peer], options) if peer in found else \
                missing_peer(name, peer, f"not installed: {absent[peer]}", options)
        except workers.Failed as error:
            say(f"   {peer}: {error}")
            units += missing_peer(name, peer, str(error), options)
    for number in range(1, options.rounds + 1):
        for unit in units:
            if unit.alive:
                unit.take_round()
        if number == 1:
            drop_slow(units, found)
        say(f"   round {number} of {options.rounds}: {sum(unit.alive for unit in units)} measured")
    for worker in found.values():
        try:
            worker.ask("clear")
        except workers.Failed as error:
            say(f"   {worker.peer}: {error}")
    return units


def start_peers(options) -> tuple[dict, dict, dict]:
    """Workers by name, the reasons of those that are missing, and versions of packages."""
    found, absent, versions = {}, {}, {}
    for peer in options.peers:
        try:
            found[peer] = workers.Worker(options.python, peer, options.threads, PATIENCE)
            versions |= found[peer].ask("versions")["versions"]
        except workers.Failed as error:
            absent[peer] = str(error)
            found.pop(peer, None)
            say(f"   {peer}: not installed: {error}")
    return found, absent, versions


def machine() -> dict:
    cpu = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {"cpu": cpu, "cpus": os.cpu_count(), "system": platform.platform(), "load": list(os.getloadavg())}


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shortrun", default=str(ROOT / "build/src/cli/shortrun"), metavar="PATH",
                        help="the program (default: build/src/cli/shortrun)")
    parser.add_argument("--shortrun-onednn3", metavar="PATH", help="the program built with oneDNN 3: engine onednn3")
    parser.add_argument("--engine", default="native", choices=("native", "onednn"),
                        help="shortrun's engine in comparisons with others (default: native)")
    parser.add_argument("--python", default=str(ROOT / ".peers/bin/python"), metavar="PATH",
                        help="the Python that has the peers (default: .peers/bin/python)")
    parser.add_argument("--peers", default=",".join(PEERS), type=lambda text: [p for p in text.split(",") if p],
                        metavar="LIST", help=f"of {','.join(PEERS)} (default: all; '' for none)")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), type=lambda text: text.split(","), metavar="LIST",
                        help=f"of {','.join(WORKLOADS)} (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of everybody (default: all CPUs)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement (default: 2)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all measurements as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source",
                        help="measure nothing: the table of a JSON that was written before")
    options = parser.parse_args()
    for what, given, known in (("peer", options.peers, PEERS), ("workload", options.workloads, WORKLOADS)):
        for name in given:
            if name not in known:
                parser.error(f"unknown {what} '{name}'; allowed: {', '.join(known)}")
    if options.rounds < 1 or options.threads < 1 or options.seconds <= 0:
        parser.error("--rounds and --threads are at least 1, --seconds above 0")
    return options


def compare(options) -> dict:
    if os.getloadavg()[0] > 0.5:
        say(f"the machine is busy (load {os.getloadavg()[0]:.1f}): threads that wait for each other lose most by it, "
            "and the ratios mean little")
    found, absent, versions = start_peers(options)
    report = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine(), "versions": versions,
              "settings": {key: getattr(options, key) for key in
                           ("threads", "engine", "rounds", "seconds", "peers", "workloads")}, "units": []}
    try:
        for name in options.workloads:
            report["units"] += [unit.record() for unit in measure_workload(name, found, absent, options)]
            if options.output:  # after every workload: an interrupted comparison keeps what it has
                write(options.output, json.dumps(report, indent=1) + "\n")
    finally:
        for worker in found.values():
            worker.close()
    return report


def main() -> int:
    options = arguments()
    try:
        report = json.loads(options.source.read_text()) if options.source else compare(options)
    except (OSError, ValueError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = table.markdown(report)
    if options.table:
        write(options.table, text)
    print(text, end="")
    return 0 if any(unit["ms"] for unit in report["units"]) else 1


if __name__ == "__main__":
    sys.exit(main())
