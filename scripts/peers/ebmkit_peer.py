"""ebmkit (its module is called ebm): its class LangevinDynamics on the same network. A form is "FORMAT CAST", as in
torch_peer."""
from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from ebm.samplers.langevin import LangevinDynamics

import torch_peer
from cases import NOISE, STEP_SIZE, Workload

set_threads = torch_peer.set_threads
clear = torch_peer.clear
forms = torch_peer.eager_forms


def versions() -> dict[str, str]:
    return {"ebmkit": version("ebmkit"), **torch_peer.versions()}


class Energy(torch.nn.Module):
    """A module, so that the package finds its weights and freezes them."""

    def __init__(self, net: torch.nn.Module, cast: str):
        super().__init__()
        self.net = net
        self.energies = torch_peer.energies_of(net, cast)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.energies(x)


def make(workload: Workload, form: str) -> Callable[[], object]:
    setting = torch_peer.Setting(workload, f"{form} eager")
    sampler = LangevinDynamics(step_size=STEP_SIZE, steps=workload.steps, noise_scale=NOISE)
    energy = Energy(setting.sampling, setting.cast)
    return lambda: sampler.sample(energy, setting.start)
