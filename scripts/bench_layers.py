#!/usr/bin/env python3
"""Prints native's speed over oneDNN's, layer by layer, from a JSON file of bench_micro.

    bench_micro --benchmark_filter='layer_.*(fp32|bf16)/threads:1' --benchmark_repetitions=5 \\
        --benchmark_enable_random_interleaving=true --benchmark_out=layers.json
    scripts/bench_layers.py layers.json
"""
import collections
import json
import re
import statistics
import sys

DIRECTIONS = ("forward", "backward_data", "backward_weights")
PRECISIONS = ("fp32", "bf16")
NAME = re.compile(r"layer_(\w+?)/(\w+)/(native|onednn)/(\w+)/threads:1\b")


def times(path):
    """Median nanoseconds by (layer, direction, precision, engine); layers in the file's order."""
    runs = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for benchmark in json.load(file)["benchmarks"]:
            found = NAME.match(benchmark["name"])
            if found and benchmark.get("run_type") == "iteration" and "error_occurred" not in benchmark:
                direction, layer, engine, precision = found.groups()
                runs[layer, direction, precision, engine].append(benchmark["real_time"])
    return {key: statistics.median(values) for key, values in runs.items()}


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    median = times(sys.argv[1])
    if not median:
        sys.exit(f"{sys.argv[1]}: no benchmarks of layers on one thread")
    columns = [(d, p) for d in DIRECTIONS for p in PRECISIONS]
    print("| layer | " + " | ".join(f"{d.replace('_', '-')} {p}" for d, p in columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    below = total = 0
    for layer in dict.fromkeys(key[0] for key in median):
        cells = []
        for direction, precision in columns:
            native = median.get((layer, direction, precision, "native"))
            onednn = median.get((layer, direction, precision, "onednn"))
            cells.append(f"{onednn / native:.2f}" if native and onednn else "-")
            if native and onednn:
                total += 1
                below += onednn < native
        print(f"| {layer.replace('_', ' ')} | " + " | ".join(cells) + " |")
    print(f"\n{below} of {total} below 1.")


if __name__ == "__main__":
    main()
