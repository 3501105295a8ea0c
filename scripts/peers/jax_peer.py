"""JAX: all steps of a block in one jitted lax.scan. A form is "NHWC DTYPE"; chains and weights are fp32.

NCHW is not among the forms: XLA's CPU backend needs 5 s for the step of which NHWC needs 0.2 s.
"""
from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jaxlib

import models
from cases import BETAS, LEARNING_RATE, NOISE, STEP_SIZE, Workload

ACTIVATIONS = {"silu": jax.nn.silu, "leaky_relu": lambda z: jax.nn.leaky_relu(z, 0.2), "relu": jax.nn.relu,
               "softplus": jax.nn.softplus, "elu": jax.nn.elu,
               "gelu": lambda z: jax.nn.gelu(z, approximate=False), "tanh": jnp.tanh}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def versions() -> dict[str, str]:
    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def forms(workload: Workload, precision: str) -> list[str]:
    layout = "NHWC" if models.parse(workload.model).kind == "convnet" else "dense"
    return [f"{layout} {'bfloat16' if precision == 'bf16' else 'float32'}"]


def set_threads(threads: int) -> None:
    """The number is in the environment that the worker is started with: XLA makes its threads once."""


def clear() -> None:
    jax.clear_caches()


def parameters(model: models.Model, key):
    """[(weight, bias)], uniform in +-1 / sqrt(fan in); a weight is (K, K, inputs, outputs) or (inputs, outputs)."""
    out = []
    for layer in model.layers:
        key, one, two = jax.random.split(key, 3)
        bound = (layer.inputs * layer.kernel**2) ** -0.5
        kernel = (layer.kernel, layer.kernel) if model.kind == "convnet" else ()
        shape = (*kernel, layer.inputs, layer.outputs)
        out.append((jax.random.uniform(one, shape, minval=-bound, maxval=bound),
                    jax.random.uniform(two, (layer.outputs,), minval=-bound, maxval=bound)))
    return out


def energies(model: models.Model, dtype, theta, x):
    """(n) in fp32, of x (n, H, W, C) or (n, D)."""
    z = x.astype(dtype)
    for i, (layer, (weight, bias)) in enumerate(zip(model.layers, theta)):
        weight, bias = weight.astype(dtype), bias.astype(dtype)
        if model.kind == "convnet":
            z = jax.lax.conv_general_dilated(z, weight, (layer.stride,) * 2, [(layer.padding,) * 2] * 2,
                                             dimension_numbers=("NHWC", "HWIO", "NHWC"))
        else:
            z = z @ weight
        z = z + bias
        if i + 1 < len(model.layers):
            z = ACTIVATIONS[model.activation](z)
    return z.astype(jnp.float32).reshape(len(x))


def adam(theta, gradient, first, second, t):
    """Kingma and Ba 2015, bias-corrected."""
    tree, (b1, b2) = jax.tree.map, BETAS
    first = tree(lambda m, g: b1 * m + (1 - b1) * g, first, gradient)
    second = tree(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradient)
    rate, root = LEARNING_RATE / (1 - b1**t), (1 - b2**t) ** 0.5
    theta = tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), theta, first, second)
    return theta, first, second


def make(workload: Workload, form: str) -> Callable[[], object]:
    model, dtype = models.parse(workload.model), DTYPES[form.split()[1]]
    key = jax.random.key(1)
    theta = parameters(model, key)
    shape = model.input_shape
    shape = (workload.batch, *(shape[1:] + shape[:1] if model.kind == "convnet" else shape))
    start, data = jax.random.uniform(key, (2, *shape), minval=-1.0, maxval=1.0)

    def total(theta, x):
        return energies(model, dtype, theta, x).sum()

    def sample(theta, x, key):
        def step(x, key):
            return x - STEP_SIZE * jax.grad(total, 1)(theta, x) + NOISE * jax.random.normal(key, x.shape), None

        return jax.lax.scan(step, x, jax.random.split(key, workload.steps))[0]

    def iteration(theta, moments, t, key):
        samples = jax.lax.stop_gradient(sample(theta, start, key))

        def loss(theta):
            return energies(model, dtype, theta, data).mean() - energies(model, dtype, theta, samples).mean()

        theta, *moments = adam(theta, jax.grad(loss)(theta), *moments, t)
        return theta, moments

    if not workload.training:
        sample = jax.jit(sample)
        return lambda: sample(theta, start, key).block_until_ready()

    iteration = jax.jit(iteration)
    zeros = jax.tree.map(jnp.zeros_like, theta)
    state = {"theta": theta, "moments": [zeros, zeros], "t": 0}

    def block() -> None:
        state["t"] += 1
        state["theta"], state["moments"] = iteration(state["theta"], state["moments"], float(state["t"]),
                                                     jax.random.fold_in(key, state["t"]))
        jax.block_until_ready(state["theta"])

    return block
