"""What is measured, and which comparisons the table shows."""
from __future__ import annotations

from dataclasses import dataclass

import models

# x <- x - STEP_SIZE grad E(x) + NOISE eps. The values have no influence on the time; they are small enough
# that states and weights stay finite however often a block is repeated.
STEP_SIZE = 0.01
NOISE = 0.01
LEARNING_RATE, BETAS = 1e-5, (0.9, 0.999)  # Adam
LARGER = 1.5  # forms this many times slower than their peer's best in the first round are dropped


@dataclass(frozen=True)
class Workload:
    """Work that everybody does. A unit of it is one step of all chains, or one training iteration: `steps`
    steps of `batch` chains, the gradient of mean E(data) - mean E(samples), Adam."""

    title: str
    model: str
    batch: int
    steps: int
    training: bool = False
    ours: tuple[str, ...] = ("fp32", "bf16", "bf16x3")  # precisions of shortrun
    theirs: tuple[str, ...] = ("fp32", "bf16")  # precisions of the peers
    one_thread: tuple[str, ...] = ()  # precisions in which shortrun is measured on one thread too

    @property
    def flops(self) -> float:
        """Floating-point operations of a unit. A step is forward and backward-data, 2 M multiply-adds a chain;
        the gradient in theta of data and samples is forward, backward-data and backward-weights."""
        m = 2.0 * models.parse(self.model).multiply_adds * self.batch
        return m * (2 * self.steps + 6) if self.training else 2 * m


NF32 = "convnet:channels=1,size=32,nf=32,activation=silu"
NF64 = "convnet:channels=3,size=32,nf=64,activation=silu"
MLP = "mlp:dim=2,widths=128x128,activation=silu"

WORKLOADS = {
    "nf32": Workload("Langevin step, 1 x 32 x 32, nf = 32", NF32, 64, 20, one_thread=("fp32", "bf16", "bf16x3")),
    "nf64": Workload("Langevin step, 3 x 32 x 32, nf = 64", NF64, 64, 20),
    "train": Workload("training iteration, K = 20, 1 x 32 x 32, nf = 32", NF32, 64, 20, training=True,
                      ours=("fp32", "bf16")),
    "mlp": Workload("Langevin step, MLP 2-128-128-1, 10000 chains", MLP, 10000, 20, ours=("fp32",), theirs=("fp32",)),
}


@dataclass(frozen=True)
class Comparison:
    """One line of the table: the time of the other over the time of ours, so more is better. A side is
    (who, precision, form, threads); precision None is any, form None the fastest, threads None is the number given to compare.py."""

    group: str
    workload: str
    ours: tuple[str, str, str | None, int | None]
    other: tuple[str, str | None, str | None, int | None]
    target: float | None  # what the ratio should reach


PEERS = ("torch", "jax", "torchebm", "ebmkit")
NAMES = {"torch": "PyTorch", "jax": "JAX", "torchebm": "torchebm", "ebmkit": "ebmkit", "shortrun": "shortrun"}
ENGINES = ("native", "onednn", "onednn3")

# The precision of a peer that shortrun's is held against; None: the fastest of any. bf16x3 is as exact as fp32.
AGAINST = {"fp32": "fp32", "bf16": None, "bf16x3": "fp32"}
# What the project wants to reach against PyTorch on two cores with AVX-512 and AMX, by workload and precision.
TARGETS_TORCH = {
    ("nf32", "fp32"): 1.3, ("nf32", "bf16"): 4.0, ("nf32", "bf16x3"): 2.5,
    ("nf64", "fp32"): 1.3, ("nf64", "bf16"): 4.0, ("nf64", "bf16x3"): 2.5,
    ("train", "bf16"): 4.0, ("mlp", "fp32"): 5.0,
}
TARGET_SHARE = {"fp32": 0.75, "bf16": 0.37, "bf16x3": 0.45}  # of the precision's measured peak, images
TARGET_ENGINE = 1.0  # native no slower than oneDNN
TARGET_THREAD = 1.9  # the second thread


def comparisons() -> list[Comparison]:
    lines = []
    for name, workload in WORKLOADS.items():
        for precision in workload.ours:
            for peer in PEERS:
                if peer in ("torch", "jax") or not workload.training:  # the others are measured as samplers
                    lines.append(Comparison("Peers", name, ("shortrun", precision, "main", None),
                                            (peer, AGAINST[precision], None, None),
                                            TARGETS_TORCH.get((name, precision)) if peer == "torch" else None))
    for name, workload in WORKLOADS.items():
        for precision in workload.one_thread:
            lines.append(Comparison("Second thread", name, ("shortrun", precision, "main", None),
                                    ("shortrun", precision, "main", 1), TARGET_THREAD))
    for name, workload in WORKLOADS.items():
        for precision in workload.ours:
            for engine in ENGINES[1:]:
                lines.append(Comparison("Engines", name, ("shortrun", precision, "native", None),
                                        ("shortrun", precision, engine, None), TARGET_ENGINE))
    return lines
