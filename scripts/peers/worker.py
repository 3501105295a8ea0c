#!/usr/bin/env python3
"""Measures one peer on request: compare.py starts it, writes a request a line to its input and reads an answer a
line. Requests are carried out at once and one at a time; between them the process sleeps.

    {"do": "versions"}                                            {"versions": {...}}
    {"do": "forms", "workload": NAME, "precision": P}             {"forms": [...]}
    {"do": "prepare", "workload": NAME, "form": FORM}             {"seconds": compiling and warming up}
    {"do": "measure", "workload": NAME, "form": FORM, "seconds": S}   {"ms": of a unit, "blocks": measured}
    {"do": "forget", "form": FORM} or {"do": "clear"}             {}

An answer may be {"error": TEXT} instead. A peer is a module NAME_peer with

    versions() -> {package: version}
    forms(workload, precision) -> [form]      the ways in which the peer can do the work
    set_threads(threads)
    make(workload, form) -> block             block() does `steps` steps, or one training iteration
    clear()                                   gives back what was compiled
"""
from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time

from cases import WORKLOADS, Workload

WARM_BLOCKS = 3  # the first compiles and allocates, the second meets what the first left
PATIENT = 4.0  # seconds: a block that takes longer than this is not repeated to warm up


def seconds_of(block) -> float:
    start = time.perf_counter()
    block()
    return time.perf_counter() - start


def warm_up(block) -> float:
    """Seconds that it took."""
    times = [seconds_of(block)]
    while len(times) < WARM_BLOCKS and (len(times) == 1 or times[-1] < PATIENT):
        times.append(seconds_of(block))
    return sum(times)


def measure(block, workload: Workload, seconds: float) -> dict:
    """The median over as many blocks as fit, at least one after one that is not counted."""
    block()  # the others were in the caches meanwhile
    times = [seconds_of(block)]
    while sum(times) + statistics.median(times) < seconds:
        times.append(seconds_of(block))
    units = 1 if workload.training else workload.steps
    return {"ms": 1e3 * statistics.median(times) / units, "blocks": len(times)}


class Server:
    def __init__(self, peer: str, threads: int):
        self.peer = importlib.import_module(f"{peer}_peer")
        self.peer.set_threads(threads)
        self.blocks: dict[str, object] = {}

    def answer(self, request: dict) -> dict:
        workload = WORKLOADS.get(request.get("workload", ""))
        what, form = request["do"], request.get("form")
        if what == "versions":
            return {"versions": self.peer.versions()}
        if what == "forms":
            return {"forms": self.peer.forms(workload, request["precision"])}
        if what == "prepare":
            block = self.peer.make(workload, form)
            spent = warm_up(block)
            self.blocks[form] = block
            return {"seconds": spent}
        if what == "measure":
            return measure(self.blocks[form], workload, request["seconds"])
        if what == "forget":
            self.blocks.pop(form, None)
            return {}
        if what == "clear":
            self.blocks.clear()
            self.peer.clear()
            return {}
        raise ValueError(f"unknown request {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", help="torch, jax, torchebm or ebmkit")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the packages print belongs to the log
    try:
        server = Server(options.peer, options.threads)
    except Exception as error:  # the reason stands in the table
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        return
    print(json.dumps({}), file=answers)
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
