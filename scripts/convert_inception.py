#!/usr/bin/env python3
"""Converts the Inception-v3 weights of the Frechet inception distance, as pytorch-fid publishes them, to the
safetensors file that shortrun reads. Needs PyTorch (any recent version) and nothing else.

Usage: convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The published file is at
https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth
and the 8 digits in its name are the first of its SHA-256. Names and values stay as they are; the batch norms'
counters are dropped; the SHA-256 of the source is kept in the metadata.
"""
import hashlib
import json
import os
import struct
import sys
from pathlib import Path

PUBLISHED = "6726825d"  # first digits of the published file's SHA-256


def fail(message):
    sys.exit(f"convert_inception.py: {message}")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def state_dict(path):
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file provokes; PyTorch's text advises to trust it
        fail(f"{path}: not a PyTorch file of tensors ({type(error).__name__})")
    if not isinstance(found, dict) or not all(torch.is_tensor(t) for t in found.values()):
        fail(f"{path}: no state dict, expected tensors by name")
    for name in ("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.bn.running_var", "fc.weight"):
        if name not in found:
            fail(f"{path}: no tensor '{name}', expected pytorch-fid's Inception-v3")
    return {name: t.float().contiguous() for name, t in found.items() if not name.endswith("num_batches_tracked")}


def save(path, tensors, meta):
    header, at = {"__metadata__": meta}, 0
    for name, tensor in tensors.items():
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")  # whole or not at all
    try:
        with open(partial, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                file.write(tensor.numpy().astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        fail(f"{path}: {error.strerror}")


def main():
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    source, target = map(Path, sys.argv[1:])
    if not source.is_file():
        fail(f"{source}: no such file")
    try:
        import torch  # noqa: F401
    except ImportError:
        fail("PyTorch is not here: pip install torch, or run it with the Python that scripts/peers/setup makes")
    digest = sha256(source)
    if not digest.startswith(PUBLISHED):
        print(f"convert_inception.py: {source} has SHA-256 {digest[:8]}..., the published file has {PUBLISHED}...: "
              "scores will not be comparable", file=sys.stderr)
    tensors = state_dict(source)
    save(target, tensors, {"kind": "feature network", "arch": "inception-v3-fid", "source_file": source.name,
                           "source_sha256": digest})
    print(f"{target}: {len(tensors)} tensors from {source.name}, SHA-256 {digest}")


main()
