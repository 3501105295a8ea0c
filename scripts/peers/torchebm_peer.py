"""torchebm: its class LangevinDynamics on the same network. A form is "FORMAT CAST", as in torch_peer."""
from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version

import torch
from torchebm.core import BaseModel
from torchebm.samplers import LangevinDynamics

import torch_peer
from cases import NOISE, STEP_SIZE, Workload

set_threads = torch_peer.set_threads
clear = torch_peer.clear
forms = torch_peer.eager_forms


def versions() -> dict[str, str]:
    return {"torchebm": version("torchebm"), **torch_peer.versions()}


class Energy(BaseModel):
    def __init__(self, net: torch.nn.Module, cast: str):
        super().__init__(device="cpu")
        self.net = net  # its weights are frozen
        self.energies = torch_peer.energies_of(net, cast)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.energies(x)


def make(workload: Workload, form: str) -> Callable[[], object]:
    setting = torch_peer.Setting(workload, f"{form} eager")
    # The package adds sqrt(2 s) noise_scale eps.
    sampler = LangevinDynamics(Energy(setting.sampling, setting.cast), step_size=STEP_SIZE,
                               noise_scale=NOISE / math.sqrt(2 * STEP_SIZE), device="cpu")
    return lambda: sampler.sample(x=setting.start, n_steps=workload.steps)
