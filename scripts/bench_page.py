#!/usr/bin/env python3
"""From Google Benchmark's JSON: figures drawn by gnuplot, one page that holds them, and the JSON with what
`shortrun info --json` says of the machine in its context. scripts/bench runs it.

Names read WORK/SHAPE/ENGINE.../threads:N; a benchmark with a rate "flops" is drawn in GFLOP/s by shape, one with
"elements" in elements a nanosecond. All others stand in the page's table only.
"""
from __future__ import annotations

import argparse
import base64
import html
import json
import shutil
import subprocess
import sys
from pathlib import Path

# Okabe and Ito's colours, as in the reports of experiments.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC3311", "#CC79A7", "#56B4E9", "#333333", "#999933"]
NOISE_WORDS = ("process_time", "real_time", "manual_time")  # Google Benchmark's own parts of a name
RATES = {"flops": ("GFLOP/s", 1e9), "elements": ("elements a nanosecond", 1e9)}
UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}  # milliseconds


class Result:
    """The median over repetitions of one benchmark."""

    def __init__(self, entry: dict):
        self.parts = [part for part in entry["run_name"].split("/") if part not in NOISE_WORDS]
        self.name = "/".join(self.parts)
        self.error = entry.get("error_message") if entry.get("error_occurred") else None
        self.ms = entry.get("real_time", 0.0) * UNITS[entry.get("time_unit", "ns")]
        self.rates = {key: entry[key] for key in RATES if key in entry}
        self.variation = None  # standard deviation over mean


def results(data: dict) -> list[Result]:
    """In the order of the file: medians, or the run itself where there was but one."""
    found: dict[str, Result] = {}
    for entry in data["benchmarks"]:
        name, kind = entry["run_name"], entry.get("aggregate_name")
        if kind == "median" or (kind is None and name not in found):
            found[name] = Result(entry)
        elif kind == "cv":
            found[name].variation = entry["real_time"]
    return list(found.values())


# ---- figures ----------------------------------------------------------------------------------------------------


class Figure:
    """Groups of bars: one group for each shape, one bar in it for each engine (or instruction set)."""

    def __init__(self, slug: str, title: str, rate: str):
        self.slug, self.title, self.rate = slug, title, rate
        self.values: dict[tuple[str, str], float] = {}

    def add(self, shape: str, series: str, value: float) -> None:
        self.values[shape, series] = value

    def script(self, target: Path) -> str:
        shapes = list(dict.fromkeys(shape for shape, _ in self.values))
        series = list(dict.fromkeys(name for _, name in self.values))
        label, scale = RATES[self.rate]
        rows = []
        for shape in shapes:
            cells = [f"{self.values[shape, name] / scale:.6g}" if (shape, name) in self.values else "NaN"
                     for name in series]
            rows.append(" ".join([f'"{shape}"', *cells]))  # in a data block only double quotes hold words together
        plots = ", ".join(f"$data using {i + 2}:xtic(1) title {quoted(name)} lc rgb '{COLOURS[i % len(COLOURS)]}'"
                          for i, name in enumerate(series))
        width = min(1600, max(700, 160 + 34 * len(shapes) * (len(series) + 1)))
        return "\n".join([
            f"set terminal pngcairo noenhanced size {width},460 font 'DejaVu Sans,10'", f"set output {quoted(str(target))}",
            "$data << END", *rows, "END", f"set title {quoted(self.title)} font ',12'", f"set ylabel {quoted(label)}",
            "set style data histogram", "set style histogram clustered gap 1", "set style fill solid noborder",
            "set boxwidth 0.9 relative", "set yrange [0:*]", "set grid ytics lc rgb '#dddddd'", "set border 3",
            "set xtics nomirror rotate by -20 noenhanced", "set ytics nomirror", "set key outside right top vertical Left reverse",
            f"plot {plots}", ""])


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def figures(found: list[Result]) -> list[Figure]:
    made: dict[str, Figure] = {}
    for result in found:
        if result.error:
            continue
        if "flops" in result.rates and len(result.parts) >= 3:
            work, shape, *series = result.parts
            figure = made.setdefault(work, Figure(work, work, "flops"))
            figure.add(shape, " ".join(series), result.rates["flops"])
        elif "elements" in result.rates and len(result.parts) >= 2:
            *shape, series = result.parts
            figure = made.setdefault("elements", Figure("elements", "kernels of single elements", "elements"))
            figure.add(" ".join(shape), series, result.rates["elements"])
    return list(made.values())


def draw(figure: Figure, folder: Path) -> Path | None:
    target = folder / f"{figure.slug}.png"
    done = subprocess.run(["gnuplot"], input=figure.script(target), text=True, capture_output=True)
    if done.returncode or not target.exists():
        print(f"bench_page.py: gnuplot, {figure.slug}: {done.stderr.strip()[:300]}", file=sys.stderr)
        return None
    return target


# ---- the page ---------------------------------------------------------------------------------------------------

STYLE = """body { font: 15px/1.5 sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222 }
img { max-width: 100% } table { border-collapse: collapse } th, td { padding: .15em .8em; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }"""


def table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", line(head, "th"), *(line(row, "td") for row in rows), "</table>"])


def machine_rows(context: dict) -> list[list[str]]:
    info = context.get("shortrun", {})
    rows = [["date", str(context.get("date", ""))], ["CPU", str(info.get("cpu") or context.get("host_name", ""))],
            ["CPUs", f"{context.get('num_cpus', '?')} at {context.get('mhz_per_cpu', '?')} MHz"],
            ["load at the start", " ".join(f"{load:.2f}" for load in context.get("load_avg", []))]]
    if info:
        engines = ", ".join(f"{name} {version}".strip() for name, version in info.get("engines", {}).items())
        rows += [["instruction set", str(info.get("isa_active", ""))], ["engines", engines],
                 ["measured peak", f"{info.get('peak_gflops', 0):.0f} GFLOP/s, {info.get('peak_threads', '?')} threads"],
                 ["shortrun", str(info.get("version", ""))]]
    return rows


def result_rows(found: list[Result]) -> list[list[str]]:
    rows = []
    for result in found:
        if result.error:
            rows.append([result.name, "-", "-", result.error])
            continue
        rate = "; ".join(f"{value / RATES[key][1]:.3g} {RATES[key][0]}" for key, value in result.rates.items())
        spread = "" if result.variation is None else f"{100 * result.variation:.1f}%"
        rows.append([result.name, f"{result.ms:.4g}", spread, rate])
    return rows


def page(data: dict, found: list[Result], pictures: list[tuple[Figure, Path]]) -> str:
    parts = ["<!doctype html>", "<html lang='en'><head><meta charset='utf-8'>", "<title>shortrun: benchmarks</title>",
             f"<style>{STYLE}</style></head><body>", "<h1>shortrun: benchmarks</h1>",
             table(["machine", ""], machine_rows(data["context"]))]
    for figure, path in pictures:
        picture = base64.b64encode(path.read_bytes()).decode()
        parts.append(f"<p><img alt='{html.escape(figure.title, quote=True)}' src='data:image/png;base64,{picture}'></p>")
    parts += ["<h2>All</h2>", "<p>Medians over repetitions; spread: standard deviation over mean.</p>",
              table(["benchmark", "ms", "spread", "rate"], result_rows(found)), "</body></html>", ""]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="what --benchmark_out wrote")
    parser.add_argument("--info", type=Path, metavar="FILE", help="what shortrun info --json printed")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                        help="for index.html, bench.json and the figures")
    options = parser.parse_args()
    try:
        data = json.loads(options.json.read_text())
        if options.info:
            data["context"]["shortrun"] = json.loads(options.info.read_text())
        found = results(data)
    except (OSError, ValueError, KeyError) as error:
        print(f"bench_page.py: {options.json}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"bench_page.py: {options.json}: no benchmark ran (does the filter match one?)", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    pictures = []
    if shutil.which("gnuplot"):
        drawn = ((figure, draw(figure, options.output)) for figure in figures(found))
        pictures = [(figure, path) for figure, path in drawn if path]
    else:
        print("bench_page.py: no gnuplot: the page has no figures (Debian: gnuplot-nox)", file=sys.stderr)
    (options.output / "bench.json").write_text(json.dumps(data, indent=1) + "\n")
    (options.output / "index.html").write_text(page(data, found, pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
