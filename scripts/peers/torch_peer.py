"""PyTorch: the step and the training iteration in its fastest forms.

A form is "FORMAT CAST MODE": memory format, how bf16 comes about ("fp32": not at all), and how it is run.
Chains and master weights are fp32 in all of them. While sampling no weight requires a gradient.
"""
from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

import models
from cases import BETAS, LEARNING_RATE, NOISE, STEP_SIZE, Workload

ACTIVATIONS = {"silu": nn.SiLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "relu": nn.ReLU, "softplus": nn.Softplus,
               "elu": nn.ELU, "gelu": nn.GELU, "tanh": nn.Tanh}
CASTS = {"fp32": ("fp32",), "bf16": ("autocast", "bfloat16")}


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def forms(workload: Workload, precision: str) -> list[str]:
    if models.parse(workload.model).kind == "mlp":  # a matrix has one format; its products can be tuned
        formats, modes = ("contiguous",), ("eager", "compile", "max-autotune")
    else:
        formats, modes = ("contiguous", "channels_last"), ("eager", "compile")
    return [f"{format} {cast} {mode}" for format in formats for cast in CASTS[precision] for mode in modes]


def eager_forms(workload: Workload, precision: str) -> list[str]:
    """"FORMAT CAST", for packages whose sampler runs as it is, and which are measured as samplers only."""
    if workload.training:
        return []
    return [form.removesuffix(" eager") for form in forms(workload, precision) if form.endswith(" eager")]


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def network(model: models.Model) -> nn.Sequential:
    parts: list[nn.Module] = []
    for layer in model.layers:
        if model.kind == "mlp":
            parts.append(nn.Linear(layer.inputs, layer.outputs))
        else:
            parts.append(nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding))
        parts.append(ACTIVATIONS[model.activation]())
    return nn.Sequential(*parts[:-1])


def energies_of(net: nn.Module, cast: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """x -> energies (n) in fp32, computed as `cast` says."""

    def energies(x: torch.Tensor) -> torch.Tensor:
        if cast == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return net(x).float().flatten()
        if cast == "bfloat16":
            return net(x.bfloat16()).float().flatten()
        return net(x).flatten()

    return energies


def langevin_step(energies: Callable[[torch.Tensor], torch.Tensor], step_size: float, noise: float):
    """One step, eager."""

    def step(x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energies(x).sum(), x)
        return x.detach() - step_size * gradient + noise * torch.randn_like(x)

    return step


def compiled_step(energies: Callable[[torch.Tensor], torch.Tensor], step_size: float, noise: float, mode: str):
    """The same step compiled whole. torch.func.grad is the form of autograd.grad that torch.compile takes in
    without breaking the graph."""
    gradient = torch.func.grad(lambda x: energies(x).sum())
    compiled = torch.compile(lambda x: x - step_size * gradient(x) + noise * torch.randn_like(x), fullgraph=True,
                             mode="max-autotune" if mode == "max-autotune" else "default")

    def step(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # else a backward pass of the step itself is prepared
            return compiled(x)

    return step


class Setting:
    """Weights, chains and data of a form."""

    def __init__(self, workload: Workload, form: str):
        self.format, self.cast, self.mode = form.split()
        model = models.parse(workload.model)
        torch.manual_seed(1)
        self.master = self.formatted(network(model))  # fp32, what Adam updates
        self.weights = copy.deepcopy(self.master).bfloat16() if self.rounded else self.master
        self.sampling = twin(self.weights).requires_grad_(False)
        shape = (workload.batch, *model.input_shape)
        self.start = self.formatted(torch.rand(shape) * 2 - 1)
        self.data = self.formatted(torch.rand(shape) * 2 - 1)

    @property
    def rounded(self) -> bool:  # the weights are a bf16 copy of the master's
        return self.cast == "bfloat16"

    def formatted(self, what):
        return what.to(memory_format=torch.channels_last) if self.format == "channels_last" else what

    def step(self):
        energies = energies_of(self.sampling, self.cast)
        if self.mode == "eager":
            return langevin_step(energies, STEP_SIZE, NOISE)
        return compiled_step(energies, STEP_SIZE, NOISE, self.mode)


def twin(net: nn.Module) -> nn.Module:
    """A copy that shares its parameters' memory."""
    other = copy.deepcopy(net)
    for theirs, ours in zip(other.parameters(), net.parameters()):
        theirs.data = ours.data
    return other


def make(workload: Workload, form: str) -> Callable[[], object]:
    """A block of work: `steps` steps of the chains, or one training iteration."""
    setting = Setting(workload, form)
    step = setting.step()

    def sample() -> torch.Tensor:
        x = setting.start
        for _ in range(workload.steps):
            x = step(x)
        return x

    return training(setting, sample) if workload.training else sample


def training(setting: Setting, sample: Callable[[], torch.Tensor]) -> Callable[[], None]:
    energies = energies_of(setting.weights, setting.cast)

    def loss(data: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        return energies(data).mean() - energies(samples).mean()

    if setting.mode != "eager":
        loss = torch.compile(loss, fullgraph=True)
    master, weights = list(setting.master.parameters()), list(setting.weights.parameters())
    adam = torch.optim.Adam(master, LEARNING_RATE, BETAS, fused=True)

    def iteration() -> None:
        samples = sample()
        setting.weights.zero_grad(set_to_none=True)
        loss(setting.data, samples).backward()
        if setting.rounded:
            for high, low in zip(master, weights):
                high.grad = low.grad.to(high.dtype)
        adam.step()
        if setting.rounded:
            with torch.no_grad():
                torch._foreach_copy_(weights, master)

    return iteration


def clear() -> None:
    """Forgets what was compiled for a workload."""
    torch._dynamo.reset()
