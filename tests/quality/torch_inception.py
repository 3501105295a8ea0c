#!/usr/bin/env python3
"""Inception-v3's features against PyTorch's, with random weights that go through the converter, and the two ways
of resizing against torch.nn.functional.interpolate and PIL. Status 77 (skipped) where there is no PyTorch; PIL's
part alone is left out where PIL is missing.

Usage: torch_inception.py INCEPTION_TOOL CONVERTER
       torch_inception.py --stored           prints the values that test_inception.c holds
       torch_inception.py --time TOOL        images a second, ours and PyTorch's

The network is written out here, after the description in pytorch-fid and the TensorFlow graph of 2015-12-05:
neither torchvision nor pytorch-fid is needed.
"""
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("no PyTorch here")
    sys.exit(77)
try:
    from PIL import Image
except ImportError:
    Image = None


class Conv(nn.Module):
    def __init__(self, before, after, kernel, **options):
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def mean_pool(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def max_pool(x):
    return F.max_pool2d(x, 3, 1, 1)


def halve(x):
    return F.max_pool2d(x, 3, 2)


class A(nn.Module):
    def __init__(self, c, pooled):
        super().__init__()
        self.branch1x1 = Conv(c, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(c, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(c, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(64, 96, 3, padding=1), Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(c, pooled, 1)

    def forward(self, x):
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)),
                          self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                          self.branch_pool(mean_pool(x))], 1)


class B(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3 = Conv(c, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(c, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x):
        return torch.cat([self.branch3x3(x), self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                          halve(x)], 1)


ROW, COLUMN = dict(kernel=(1, 7), padding=(0, 3)), dict(kernel=(7, 1), padding=(3, 0))


class C(nn.Module):
    def __init__(self, c, n):
        super().__init__()
        self.branch1x1 = Conv(c, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(c, n, 1), Conv(n, n, **ROW)
        self.branch7x7_3 = Conv(n, 192, **COLUMN)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(c, n, 1), Conv(n, n, **COLUMN)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(n, n, **ROW), Conv(n, n, **COLUMN)
        self.branch7x7dbl_5 = Conv(n, 192, **ROW)
        self.branch_pool = Conv(c, 192, 1)

    def forward(self, x):
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                          self.branch7x7dbl_5(self.branch7x7dbl_4(double)), self.branch_pool(mean_pool(x))], 1)


class D(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(c, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(c, 192, 1), Conv(192, 192, **ROW)
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, **COLUMN), Conv(192, 192, 3, stride=2)

    def forward(self, x):
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)),
                          self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))),
                          halve(x)], 1)


class E(nn.Module):
    def __init__(self, c, pool):
        super().__init__()
        row, column = dict(kernel=(1, 3), padding=(0, 1)), dict(kernel=(3, 1), padding=(1, 0))
        self.pool = pool
        self.branch1x1 = Conv(c, 320, 1)
        self.branch3x3_1 = Conv(c, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, **row), Conv(384, 384, **column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(c, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, **row), Conv(384, 384, **column)
        self.branch_pool = Conv(c, 192, 1)

    def forward(self, x):
        one, two = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(one), self.branch3x3_2b(one), self.branch3x3dbl_3a(two),
                          self.branch3x3dbl_3b(two), self.branch_pool(self.pool(x))], 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, stride=2), Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80, 1), Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(768, 128), C(768, 160), C(768, 160), C(768, 192)
        self.Mixed_7a = D(768)
        self.Mixed_7b, self.Mixed_7c = E(1280, mean_pool), E(2048, max_pool)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x):
        x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return features, self.fc(features)


# ---- weights and images from an integer hash, the same in test_inception.c ------------------------------------

def hashed(start, count):
    """Numbers in [0, 1) from the counters start, start + 1, ...: the finaliser of MurmurHash3."""
    h = (np.arange(count, dtype=np.uint64) + start).astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float64) / 2**24


RANGES = {"bn.weight": (0.5, 1.5), "bn.bias": (-0.2, 0.2), "bn.running_mean": (-0.2, 0.2),
          "bn.running_var": (0.5, 1.5), "fc.weight": (-0.05, 0.05), "fc.bias": (-1.0, 1.0)}


def random_weights(net):
    """Weights of convolutions with variance 2 / fan-in, which keeps the activations' size."""
    state, at = {}, 1
    for name, old in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        if name.endswith("conv.weight"):
            high = (6.0 / (old.shape[1] * old.shape[2] * old.shape[3])) ** 0.5
            low = -high
        else:
            low, high = RANGES[".".join(name.split(".")[-2:])]
        values = (low + (high - low) * hashed(at, old.numel())).astype(np.float32)
        state[name] = torch.from_numpy(values.reshape(old.shape))
        at += old.numel()
    net.load_state_dict(state)
    return net.eval()


def random_images(n, channels, height, width):
    """Noise about a brightness of its own for every plane: noise alone would give all images the same features."""
    noise = (2 * hashed(12345, n * channels * height * width) - 1).reshape(n, channels, height, width)
    level = (2 * hashed(99, n * channels) - 1).reshape(n, channels, 1, 1)
    return (0.7 * level + 0.3 * noise).astype(np.float32)


# ---- what the references do with images -------------------------------------------------------------------------

def pytorch_fid(x):
    x = torch.from_numpy(x).clamp(-1, 1)
    x = (x + 1) / 2
    if x.shape[1] == 1:
        x = x.repeat(1, 3, 1, 1)
    return (2 * F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False) - 1).numpy()


def clean_fid(x):
    x = (np.clip(x, -1, 1) + np.float32(1)) * np.float32(127.5)
    if x.shape[1] == 1:
        x = x.repeat(3, 1)
    out = np.empty((x.shape[0], 3, 299, 299), np.float32)
    for i in range(x.shape[0]):
        for c in range(3):
            out[i, c] = np.asarray(Image.fromarray(x[i, c]).resize((299, 299), Image.BICUBIC)).clip(0, 255)
    return (out - 128) / 128


def features(net, inputs):
    with torch.no_grad():
        return [t.numpy() for t in net(torch.from_numpy(inputs).double())]


# ---- the comparison -----------------------------------------------------------------------------------------------

def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stderr}")
    return done.stdout


def compare(what, found, expected, bound):
    scale = np.abs(expected).max()
    error = np.abs(found.astype(np.float64) - expected).max() / scale
    print(f"{what}: largest error {error:.1e} of {scale:.3g}, bound {bound:g}")
    if found.shape != expected.shape or not error < bound:
        sys.exit(f"{what}: {found.shape} against {expected.shape}, error {error}")


def check_inputs(tool, folder):
    for shape in ((2, 3, 32, 32), (1, 1, 28, 28), (1, 3, 299, 299), (1, 3, 320, 513), (1, 3, 1, 5), (1, 1, 700, 150)):
        x = 1.1 * random_images(*shape)  # some are clamped
        np.save(folder / "x.npy", x)
        for name, reference in (("pytorch-fid", pytorch_fid), ("clean-fid", clean_fid)):
            if name == "clean-fid" and Image is None:
                print("no PIL here: clean-fid's resizing is not compared")
                continue
            run(tool, "input", folder / "x.npy", name, folder / "y.npy")
            compare(f"input, {name}, {shape}", np.load(folder / "y.npy"), reference(x), 2e-6)


def check_features(tool, converter, folder):
    net = random_weights(Inception())
    torch.save(net.state_dict(), folder / "weights.pth")
    weights = folder / "inception.safetensors"
    run(sys.executable, converter, folder / "weights.pth", weights)
    net = net.double()
    records = set()
    for shape, threads in (((3, 3, 32, 32), 2), ((2, 1, 28, 28), 3), ((1, 3, 320, 400), 1)):
        x = random_images(*shape)
        np.save(folder / "x.npy", x)
        expected, logits = features(net, pytorch_fid(x))
        for precision, bound in (("fp32", 1e-4), ("bf16", 2e-2)):
            done = subprocess.run([tool, "features", weights, folder / "x.npy", "pytorch-fid", precision, str(threads),
                                   folder / "f.npy", folder / "l.npy"], capture_output=True, text=True)
            if done.returncode and precision == "bf16" and "without AVX-512" in done.stderr:
                print("no bfloat16 on this CPU")
                continue
            if done.returncode:
                sys.exit(f"{tool}: status {done.returncode}: {done.stderr}")
            records.add(done.stdout)
            found = np.load(folder / "f.npy")
            compare(f"features, {precision}, {shape}", found, expected, bound)
            if shape[0] > 1:  # what a distance sees: how images differ
                compare(f"features about their mean, {precision}, {shape}", found - found.mean(0, dtype=np.float64),
                        expected - expected.mean(0), bound)
            compare(f"logits, {precision}, {shape}", np.load(folder / "l.npy"), logits, bound)
    if len(records) != 1:
        sys.exit(f"the weights' hashes differ: {records}")


def stored():
    net = random_weights(Inception()).double()
    x = random_images(2, 3, 40, 24)
    expected, logits = features(net, pytorch_fid(x))
    picks = [0, 1, 319, 320, 703, 704, 1087, 1088, 1471, 1472, 1855, 1856, 2046, 2047]
    for i in range(2):
        print("features", i, ", ".join(f"{expected[i, p]:.9g}" for p in picks), "sum", f"{expected[i].sum():.9g}", "largest", expected[i].max())
        print("logits", i, ", ".join(f"{logits[i, p]:.9g}" for p in (0, 1, 503, 1007)))
    spots = [(0, 0, 0), (0, 0, 298), (1, 150, 77), (2, 298, 298), (0, 7, 201)]
    for shape in ((1, 3, 20, 33), (1, 3, 400, 350)):
        x = random_images(*shape)
        for name, reference in (("pytorch-fid", pytorch_fid), ("clean-fid", clean_fid)):
            y = reference(x)[0]
            print(name, shape, ", ".join(f"{y[s]:.9g}" for s in spots), "sum", f"{y.astype(np.float64).sum():.12g}")


def measure(tool):
    net = random_weights(Inception())
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(net.state_dict(), folder / "weights.pth")
        run(sys.executable, Path(__file__).parents[2] / "scripts/convert_inception.py", folder / "weights.pth",
            folder / "w.safetensors")
        for precision in ("fp32", "bf16"):
            for t in range(1, threads + 1):
                print(f"shortrun {precision} {t} threads:",
                      run(tool, "time", folder / "w.safetensors", precision, t, 32).strip(), flush=True)
    for precision in ("fp32", "bf16"):
        for layout in (torch.contiguous_format, torch.channels_last):
            for t in range(1, threads + 1):
                torch.set_num_threads(t)
                own = net.to(memory_format=layout)
                x = torch.from_numpy(random_images(32, 3, 299, 299)).contiguous(memory_format=layout)
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    own(x)
                    start = time.perf_counter()
                    own(x)
                    seconds = time.perf_counter() - start
                print(f"PyTorch {precision} {layout} {t} threads: {len(x) / seconds:.2f} images/s", flush=True)


if sys.argv[1] == "--stored":
    stored()
elif sys.argv[1] == "--time":
    measure(sys.argv[2])
else:
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        check_inputs(sys.argv[1], Path(scratch))
        check_features(sys.argv[1], sys.argv[2], Path(scratch))
