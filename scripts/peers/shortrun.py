"""shortrun's side: one call of `shortrun profile` for every measurement."""
from __future__ import annotations

import json
import os
import subprocess

from cases import NOISE, Workload

KEPT = ("engine", "gflops", "peak_gflops", "share", "chain_steps_per_s", "peak_rss_mb")


class Failed(Exception):
    """A measurement that could not be made; the text stands in the table."""


def command(binary: str, workload: Workload, engine: str, precision: str, threads: int, seconds: float) -> list[str]:
    line = [binary, "profile", "--model", workload.model, "--batch", workload.batch, "--engine", engine,
            "--precision", precision, "--threads", threads, "--steps", workload.steps, "--noise", NOISE,
            "--seconds", seconds, "--format", "json"]
    return [str(word) for word in line] + (["--training"] if workload.training else [])


def measure(binary: str, workload: Workload, engine: str, precision: str, threads: int, seconds: float,
            patience: float) -> dict:
    """{"ms": of a unit, "details": {...}} or Failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command(binary, workload, engine, precision, threads, seconds), env=environment,
                              capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer within {patience:.0f} s") from None
    except OSError as error:
        raise Failed(f"{binary}: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Failed(said[-1].removeprefix("shortrun: ") if said else f"status {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        ms = float(answer["ms_per_training_iteration" if workload.training else "ms_per_step"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"shortrun profile: cannot read its JSON ({type(error).__name__}: {error})") from None
    return {"ms": ms, "details": {key: answer[key] for key in KEPT if key in answer}}
