"""Networks as text, as shortrun writes them, into a list of layers. No library of tensors is needed here.

    convnet:channels=1,size=32,nf=32,activation=silu
    mlp:dim=2,widths=128x128,activation=silu
"""
from __future__ import annotations

from dataclasses import dataclass

ACTIVATIONS = ("silu", "leaky_relu", "relu", "softplus", "elu", "gelu", "tanh")
KEYS = {"convnet": {"channels", "size", "nf", "activation"}, "mlp": {"dim", "widths", "activation"}}


@dataclass(frozen=True)
class Layer:
    """One convolution on square images, or a dense layer (size 1, kernel 1); all but the last are activated."""

    inputs: int  # channels
    outputs: int
    kernel: int
    stride: int
    padding: int
    size_in: int  # pixels along a side
    size_out: int

    @property
    def parameters(self) -> int:
        return self.outputs * (self.inputs * self.kernel**2 + 1)

    @property
    def multiply_adds(self) -> int:  # of a forward pass of one sample
        return self.outputs * self.size_out**2 * self.inputs * self.kernel**2


@dataclass(frozen=True)
class Model:
    kind: str  # convnet or mlp
    activation: str
    layers: tuple[Layer, ...]

    @property
    def input_shape(self) -> tuple[int, ...]:  # of one sample: (C, H, W) or (D,)
        first = self.layers[0]
        return (first.inputs, first.size_in, first.size_in) if self.kind == "convnet" else (first.inputs,)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)


def parse(text: str) -> Model:
    """The network that `text` describes; ValueError says what is wrong with it."""
    kind, _, rest = text.partition(":")
    if kind not in KEYS:
        raise ValueError(f"unknown model '{kind}'; allowed: {', '.join(KEYS)}")
    values: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or key not in KEYS[kind]:
            raise ValueError(f"model {kind}: cannot read '{item}'; keys: {', '.join(sorted(KEYS[kind]))}")
        if key in values:
            raise ValueError(f"model {kind}: '{key}' stands twice")
        values[key] = value
    activation = values.pop("activation", "silu")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation '{activation}'; allowed: {', '.join(ACTIVATIONS)}")
    missing = KEYS[kind] - {"activation"} - values.keys()
    if missing:
        raise ValueError(f"model {kind}: missing: {', '.join(sorted(missing))}")
    if kind == "mlp":
        widths = [_whole(kind, "widths", width) for width in values["widths"].split("x")]
        layers = _mlp(_whole(kind, "dim", values["dim"]), widths)
    else:
        layers = _convnet(*(_whole(kind, key, values[key]) for key in ("channels", "size", "nf")))
    return Model(kind, activation, layers)


def _whole(kind: str, key: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise ValueError(f"model {kind}: {key} = '{value}' is not a whole number above 0")
    return int(value)


def _mlp(dim: int, widths: list[int]) -> tuple[Layer, ...]:
    sizes = [dim, *widths, 1]
    return tuple(Layer(a, b, 1, 1, 0, 1, 1) for a, b in zip(sizes, sizes[1:]))


def _convnet(channels: int, size: int, nf: int) -> tuple[Layer, ...]:
    """Nijkamp et al. 2019: 3x3, then 4x4 with stride 2 while at least 6 pixels remain, then what remains -> 1."""
    layers = [Layer(channels, nf, 3, 1, 1, size, size)]
    while size >= 6:
        layers.append(Layer(nf, 2 * nf, 4, 2, 1, size, size // 2))
        nf, size = 2 * nf, size // 2
    return (*layers, Layer(nf, 1, size, 1, 0, size, 1))
