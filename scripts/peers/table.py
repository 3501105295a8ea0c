"""From measurements to the table: medians, ratios, Markdown. Reads only the dictionary that compare.py writes:

    {"settings": {"threads", "engine", "rounds", "seconds"}, "machine": {...}, "versions": {...},
     "units": [{"workload", "who", "precision", "form", "threads", "ms": [of each round],
                "dropped": bool, "error": text or absent, "details": {...}}, ...]}
"""
from __future__ import annotations

import statistics
from dataclasses import dataclass

from cases import NAMES, TARGET_SHARE, WORKLOADS, Comparison, comparisons


@dataclass(frozen=True)
class Line:
    comparison: Comparison
    ours: dict | None  # units, None where nothing was measured
    other: dict | None
    why: list[str]  # for each side that is missing

    @property
    def ratio(self) -> float | None:
        return median(self.other) / median(self.ours) if self.ours and self.other else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Smallest and largest ratio of one round."""
        if self.ratio is None:
            return None
        ratios = [b / a for a, b in zip(self.ours["ms"], self.other["ms"])]
        return min(ratios), max(ratios)

    @property
    def met(self) -> bool | None:
        return None if self.ratio is None or self.comparison.target is None else self.ratio >= self.comparison.target


def median(unit: dict) -> float:
    return statistics.median(unit["ms"])


def find(report: dict, workload: str, side: tuple) -> tuple[dict | None, str]:
    """The fastest unit that a side of a comparison means, or why there is none."""
    who, precision, form, threads = side
    form = report["settings"]["engine"] if form == "main" else form
    threads = threads or report["settings"]["threads"]
    units = [u for u in report["units"] if (u["workload"], u["who"], u["threads"]) == (workload, who, threads) and
             precision in (None, u["precision"]) and form in (None, u["form"])]
    measured = [u for u in units if u["ms"] and not u.get("dropped") and not u.get("error")]
    if measured:
        return min(measured, key=median), ""
    reasons = [u["error"] for u in units if u.get("error")]
    return None, reasons[0] if reasons else "not measured"


def lines(report: dict) -> list[Line]:
    """A line for each comparison both sides of which were tried; a comparison with itself is none."""
    out = []
    for comparison in comparisons():
        ours, why_ours = find(report, comparison.workload, comparison.ours)
        other, why_other = find(report, comparison.workload, comparison.other)
        if "not measured" in (why_ours, why_other) or (ours and ours is other):
            continue
        why = [f"{name_of(side, None)}: {why}" for side, why in
               ((comparison.ours, why_ours), (comparison.other, why_other)) if why]
        out.append(Line(comparison, ours, other, why))
    return out


# ---- Markdown -------------------------------------------------------------------------------------------------


def milliseconds(unit: dict | None) -> str:
    if not unit:
        return "-"
    return f"{median(unit):.3g} ({min(unit['ms']):.3g} to {max(unit['ms']):.3g})"


def name_of(side: tuple, unit: dict | None, ours: bool = False) -> str:
    who, precision, form, threads = side
    precision = unit["precision"] if unit else precision or "any"
    words = [precision] if ours else [NAMES[who], precision]
    if threads:
        words.append(f"{threads} thread{'s' if threads > 1 else ''}")
    shown = unit["form"] if unit else form
    return " ".join(words) + (f", {shown}" if shown and shown != "main" else "")


def row(line: Line) -> list[str]:
    c = line.comparison
    target = "-" if c.target is None else f"{c.target:g}"
    if line.ratio is None:
        return [WORKLOADS[c.workload].title, name_of(c.ours, line.ours, ours=True), milliseconds(line.ours),
                name_of(c.other, line.other), milliseconds(line.other), "-", target, "-"]
    low, high = line.spread
    return [WORKLOADS[c.workload].title, name_of(c.ours, line.ours, ours=True), milliseconds(line.ours),
            name_of(c.other, line.other), milliseconds(line.other), f"{line.ratio:.2f} ({low:.2f} to {high:.2f})",
            target, {True: "yes", False: "no", None: "-"}[line.met]]


def aligned(rows: list[list[str]]) -> str:
    """A Markdown table that reads well as text; the first row is the head."""
    rows = [[cell.replace("|", "\\|") for cell in r] for r in rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(r, widths)) + " |" for r in rows]
    text.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(text)


HEAD = ["work", "shortrun", "ms", "against", "ms", "ratio", "target", "met"]


def rate_rows(report: dict) -> list[list[str]]:
    rows = []
    for unit in report["units"]:
        details = unit.get("details") or {}
        if unit["who"] == "shortrun" and unit["ms"] and "gflops" in details:
            share = details.get("share")
            wanted = None if WORKLOADS[unit["workload"]].training or unit["workload"] == "mlp" or \
                unit["form"] != "native" else TARGET_SHARE[unit["precision"]]
            rows.append([WORKLOADS[unit["workload"]].title, unit["precision"], unit["form"], str(unit["threads"]),
                         f"{median(unit):.3g}", f"{details['gflops']:.0f}",
                         f"{100 * share:.0f}%" if isinstance(share, float) else "-",
                         f"{100 * wanted:.0f}%" if wanted else "-",
                         f"{details['peak_rss_mb']:.0f}" if "peak_rss_mb" in details else "-"])
    return rows


def form_rows(report: dict) -> list[list[str]]:
    rows = []
    for unit in report["units"]:
        if unit["who"] == "shortrun":
            continue
        workload = WORKLOADS[unit["workload"]]
        rate = f"{workload.flops / median(unit) / 1e6:.0f}" if unit["ms"] else "-"
        remark = unit.get("error") or ("dropped after the first round" if unit.get("dropped") else "")
        rows.append([workload.title, NAMES[unit["who"]], unit["precision"], unit["form"],
                     milliseconds(unit if unit["ms"] else None), rate, remark])
    return rows


def markdown(report: dict) -> str:
    settings, machine = report["settings"], report["machine"]
    all_lines = lines(report)
    parts = ["# shortrun beside its peers", "",
             ", ".join([machine.get("cpu", "unknown CPU"), f"{settings['threads']} threads", report.get("date", ""),
                        *([f"load {machine['load'][0]:.1f} at the start"] if "load" in machine else []),
                        *(f"{name} {version}" for name, version in report["versions"].items())]) + ".", "",
             f"Milliseconds for a step of all chains or for a training iteration: median (smallest to largest) of "
             f"{settings['rounds']} rounds, in each of which all were measured in turn for {settings['seconds']:g} s. "
             "Ratio: the other's time over shortrun's, of the medians (smallest to largest of a round); above 1 "
             "shortrun is faster. Of each peer the fastest form counts."]
    for group in dict.fromkeys(line.comparison.group for line in all_lines):
        rows = [row(line) for line in all_lines if line.comparison.group == group]
        parts += ["", f"## {group}", "", aligned([HEAD, *rows])]
        reasons = dict.fromkeys(why for line in all_lines if line.comparison.group == group for why in line.why)
        parts += ["", "Not measured:", "", *(f"- {why}" for why in reasons)] if reasons else []
    rates, forms = rate_rows(report), form_rows(report)
    if rates:
        parts += ["", "## Rates of shortrun", "",
                  aligned([["work", "precision", "engine", "threads", "ms", "GFLOP/s", "of peak", "target", "MB"], *rates])]
    if forms:
        parts += ["", "## All forms of the peers", "",
                  aligned([["work", "peer", "precision", "form", "ms", "GFLOP/s", "remark"], *forms])]
    judged = [line.met for line in all_lines if line.met is not None]
    parts += ["", f"Targets met: {sum(judged)} of {len(judged)} that were measured."]
    return "\n".join(parts) + "\n"
