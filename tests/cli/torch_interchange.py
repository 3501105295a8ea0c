#!/usr/bin/env python3
"""A PyTorch state_dict, saved as safetensors, gives the same energies and gradients in shortrun, and what
shortrun trains gives the same energies in PyTorch. Status 77 (skipped) where there is no PyTorch.

Usage: torch_interchange.py SHORTRUN      The format is read and written by hand: safetensors may be missing.
"""
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import torch
    from torch import nn
except ImportError:
    print("no PyTorch here")
    sys.exit(77)

program = sys.argv[1]
torch.manual_seed(1)
torch.set_num_threads(1)


def save(path, tensors):
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor.detach().float().numpy())
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        blobs.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    meta = header.pop("__metadata__", {})
    types = {"F32": np.float32, "F64": np.float64, "U64": np.uint64, "I64": np.int64, "U8": np.uint8}
    tensors = {}
    for name, entry in header.items():
        low, high = (8 + length + o for o in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[low:high], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors, meta


def activation(name):
    return {"silu": nn.SiLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "softplus": nn.Softplus, "elu": nn.ELU,
            "gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}[name]()


def convnet(channels, size, nf, act):
    layers, wide, left = [nn.Conv2d(channels, nf, 3, 1, 1), activation(act)], nf, size
    while left >= 6:
        layers += [nn.Conv2d(wide, 2 * wide, 4, 2, 1), activation(act)]
        wide, left = 2 * wide, left // 2
    return nn.Sequential(*layers, nn.Conv2d(wide, 1, left))


def mlp(dim, widths, act):
    layers = []
    for width in widths:
        layers += [nn.Linear(dim, width), activation(act)]
        dim = width
    return nn.Sequential(*layers, nn.Linear(dim, 1))


def energies(net, x):
    x = torch.from_numpy(x).double().requires_grad_(True)
    e = net.double()(x).flatten(1).sum(1)
    return e.detach().numpy(), torch.autograd.grad(e.sum(), x)[0].numpy()


def shortrun(*arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"shortrun {' '.join(map(str, arguments))}: status {done.returncode}: {done.stderr}")


def compare(what, found, expected):
    error = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{what}: relative error {error:.1e}")
    if found.shape != expected.shape or not error < 1e-4:
        sys.exit(f"{what}: {found.shape} against {expected.shape}, error {error}")


def check(what, folder, file, net, x, engine, *model):
    np.save(folder / "x.npy", x)
    shortrun("energy", file, "--input", folder / "x.npy", "--output", folder / "e.npy", "--gradient",
             folder / "g.npy", "--engine", engine, *model)
    e, g = energies(net, x)
    compare(f"{what}, {engine}, energy", np.load(folder / "e.npy"), e)
    compare(f"{what}, {engine}, gradient", np.load(folder / "g.npy"), g)


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    images = np.random.default_rng(1).uniform(-1, 1, (5, 1, 28, 28)).astype("float32")
    points = np.random.default_rng(2).normal(0, 2, (70, 2)).astype("float32")

    # from PyTorch
    for act in ("silu", "leaky_relu", "softplus"):
        net = convnet(1, 28, 8, act)
        save(folder / "net.safetensors", net.state_dict())
        for engine in ("scalar", "auto"):
            check(f"PyTorch's convnet, {act}", folder, folder / "net.safetensors", net, images, engine,
                  "--model", f"convnet:channels=1,size=28,nf=8,activation={act}")
    net = mlp(2, (64, 32), "gelu")
    save(folder / "mlp.safetensors", net.state_dict())
    check("PyTorch's mlp", folder, folder / "mlp.safetensors", net, points, "auto", "--model",
          "mlp:dim=2,widths=64x32,activation=gelu")

    # to PyTorch: names and shapes are those of nn.Sequential, and the energies agree
    np.save(folder / "images.npy", np.repeat(images, 16, 0))
    for what, dataset, net, x in (("convnet", folder / "images.npy", convnet(1, 28, 8, "leaky_relu"), images),
                                  ("mlp", "rings", mlp(2, (128, 128), "silu"), points)):
        file = folder / f"{what}-trained.safetensors"
        shortrun("train", "--dataset", dataset, "--iterations", 3, "--batch", 16, "--steps", 3, "--average",
                 0.9, "--output", file)
        tensors, meta = load(file)
        own = {k: torch.from_numpy(v.copy()) for k, v in tensors.items() if k[0].isdigit()}
        net.float().load_state_dict(own)
        if meta["arch"] != what:
            sys.exit(f"{what}: metadata says {meta['arch']}")
        check(f"shortrun's {what}", folder, file, net, x, "auto")
