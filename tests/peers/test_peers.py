#!/usr/bin/env python3
"""scripts/peers: models as text, the step of PyTorch, the tables; shortrun's metrics beside the packages'. Status 77
(skipped) where there is no PyTorch, after the tests that need none have passed.

Usage: test_peers.py SCRIPTS_PEERS SHORTRUN
"""
import argparse
import copy
import importlib.util
import math
import os
import sys
import unittest

sys.path.insert(0, sys.argv.pop(1))
SHORTRUN = sys.argv.pop(1)

import models
import quality
import table
from cases import WORKLOADS, Workload

try:
    import torch

    import torch_peer
except ImportError:
    torch = None

needs_torch = unittest.skipIf(torch is None, "no PyTorch here")


class Models(unittest.TestCase):
    def test_convnet(self):
        model = models.parse("convnet:channels=1,size=32,nf=32,activation=silu")
        self.assertEqual(model.input_shape, (1, 32, 32))
        self.assertEqual([(l.inputs, l.outputs, l.kernel, l.stride, l.size_out) for l in model.layers],
                         [(1, 32, 3, 1, 32), (32, 64, 4, 2, 16), (64, 128, 4, 2, 8), (128, 256, 4, 2, 4),
                          (256, 1, 4, 1, 1)])
        self.assertEqual(model.parameters, 692993)
        self.assertEqual(model.multiply_adds, 25464832)

    def test_sizes_that_do_not_halve(self):
        model = models.parse("convnet:channels=3,size=28,nf=8,activation=relu")
        self.assertEqual([layer.size_out for layer in model.layers], [28, 14, 7, 3, 1])
        self.assertEqual(model.layers[-1].kernel, 3)

    def test_mlp(self):
        model = models.parse("mlp:dim=2,widths=128x128,activation=silu")
        self.assertEqual((model.input_shape, model.parameters, model.multiply_adds), ((2,), 17025, 16768))

    def test_activation_defaults_to_silu(self):
        self.assertEqual(models.parse("mlp:dim=2,widths=4").activation, "silu")

    def test_errors_name_what_is_wrong(self):
        for text, word in (("resnet:size=3", "resnet"), ("mlp:dim=2", "widths"), ("mlp:dim=2,widths=4x", "widths"),
                           ("mlp:dim=0,widths=4", "dim"), ("mlp:dim=2,widths=4,nf=3", "nf=3"),
                           ("mlp:dim=2,dim=2,widths=4", "twice"), ("mlp:dim=2,widths=4,activation=sin", "sin"),
                           ("convnet:channels=1,size=x,nf=8", "size")):
            with self.subTest(text), self.assertRaisesRegex(ValueError, word):
                models.parse(text)

    @needs_torch
    def test_network_has_the_parameters(self):
        for workload in WORKLOADS.values():
            model = models.parse(workload.model)
            net = torch_peer.network(model)
            self.assertEqual(sum(p.numel() for p in net.parameters()), model.parameters)
            self.assertEqual(net(torch.zeros(2, *model.input_shape)).flatten().shape, (2,))


def silu_and_slope(z):
    sigmoid = 1 / (1 + math.exp(-z))
    return z * sigmoid, sigmoid * (1 + z * (1 - sigmoid))


def gradient_by_hand(net, x):
    """Of E(x) = b + sum_j v_j silu(w_j . x + c_j): sum_j v_j silu'(w_j . x + c_j) w_j."""
    w, c, v = net[0].weight.tolist(), net[0].bias.tolist(), net[2].weight.tolist()[0]
    gradient = [0.0] * len(x)
    for wj, cj, vj in zip(w, c, v):
        _, slope = silu_and_slope(sum(a * b for a, b in zip(wj, x)) + cj)
        gradient = [g + vj * slope * a for g, a in zip(gradient, wj)]
    return gradient


@needs_torch
class Step(unittest.TestCase):
    step_size, noise = 0.3, 0.2

    def setUp(self):
        torch.set_num_threads(1)
        torch.manual_seed(5)
        self.net = torch_peer.network(models.parse("mlp:dim=3,widths=7,activation=silu")).requires_grad_(False)
        self.x = torch.randn(4, 3)

    def expected(self):
        torch.manual_seed(9)
        noise = torch.randn_like(self.x).tolist()
        return [[a - self.step_size * g + self.noise * e for a, g, e in zip(x, gradient_by_hand(self.net, x), eps)]
                for x, eps in zip(self.x.tolist(), noise)]

    def check(self, step, tolerance):
        torch.manual_seed(9)
        found = step(self.x)
        self.assertEqual(found.dtype, torch.float32)
        self.assertFalse(found.requires_grad)
        for row, expected in zip(found.tolist(), self.expected()):
            for a, b in zip(row, expected):
                self.assertAlmostEqual(a, b, delta=tolerance)

    def test_eager_and_compiled_follow_the_formula(self):
        for cast, tolerance in (("fp32", 1e-6), ("autocast", 5e-3)):
            energies = torch_peer.energies_of(self.net, cast)
            self.check(torch_peer.langevin_step(energies, self.step_size, self.noise), tolerance)
            with torch.compiler.set_stance("force_eager"):  # its formula; a compiler need not be there
                self.check(torch_peer.compiled_step(energies, self.step_size, self.noise, "compile"), tolerance)

    def test_bfloat16_weights(self):
        low = torch_peer.twin(self.net).bfloat16()
        energies = torch_peer.energies_of(low, "bfloat16")
        self.check(torch_peer.langevin_step(energies, self.step_size, self.noise), 5e-3)

    def test_noise_and_gradient_matter(self):  # the checks above can fail
        energies = torch_peer.energies_of(self.net, "fp32")
        for step_size, noise in ((0.0, self.noise), (self.step_size, 0.0)):
            with self.assertRaises(AssertionError):
                self.check(torch_peer.langevin_step(energies, step_size, noise), 5e-3)


@needs_torch
class Training(unittest.TestCase):
    tiny = Workload("", "convnet:channels=1,size=8,nf=2,activation=silu", batch=3, steps=2, training=True)

    def test_an_iteration_moves_all_weights(self):
        for form in ("contiguous fp32 eager", "channels_last autocast eager", "channels_last bfloat16 eager"):
            with self.subTest(form):
                setting = torch_peer.Setting(self.tiny, form)
                before = [p.detach().clone() for p in setting.master.parameters()]
                block = torch_peer.training(setting, lambda: setting.step()(setting.start))
                block()
                # the last bias shifts both means alike
                for old, new in list(zip(before, setting.master.parameters()))[:-1]:
                    self.assertFalse(torch.equal(old, new))
                for high, low in zip(setting.master.parameters(), setting.sampling.parameters()):
                    self.assertTrue(torch.equal(high.to(low.dtype), low))
                    self.assertFalse(low.requires_grad)

    def test_every_form_can_be_made(self):
        for precision in ("fp32", "bf16"):
            for form in torch_peer.forms(self.tiny, precision):
                torch_peer.make(self.tiny, form)


def unit(who, precision, form, ms, threads=2, workload="nf32", **more):
    return {"workload": workload, "who": who, "precision": precision, "form": form, "threads": threads, "ms": ms,
            "dropped": False, "details": {}, **more}


class Table(unittest.TestCase):
    def report(self):
        return {"settings": {"threads": 2, "engine": "native", "rounds": 3, "seconds": 1.0},
                "machine": {"cpu": "a CPU"}, "versions": {"torch": "2"}, "date": "today",
                "units": [
                    unit("shortrun", "fp32", "native", [10.0, 12.0, 11.0],
                         details={"gflops": 150.0, "share": 0.6, "peak_rss_mb": 50.0}),
                    unit("shortrun", "fp32", "native", [20.0, 18.0, 22.0], threads=1),
                    unit("shortrun", "fp32", "onednn", [33.0, 33.0, 33.0]),
                    unit("shortrun", "bf16", "native", [], error="no bf16 | here"),
                    unit("torch", "fp32", "slow", [99.0], dropped=True),
                    unit("torch", "fp32", "quick", [30.0, 24.0, 22.0]),
                    unit("torch", "fp32", "middling", [40.0, 5.0, 41.0]),
                    unit("torch", "bf16", "quick", [9.0, 9.0, 9.0]),
                    unit("jax", "fp32", "-", [], error="not installed: no module")]}

    def find(self, lines, group, who, precision="fp32", form=None):
        found = [line for line in lines if line.comparison.group == group and line.comparison.other[0] == who
                 and line.comparison.ours[1] == precision and (form is None or line.comparison.other[2] == form)]
        self.assertEqual(len(found), 1)
        return found[0]

    def test_the_fastest_form_by_its_median(self):
        line = self.find(table.lines(self.report()), "Peers", "torch")
        self.assertEqual(line.other["form"], "quick")
        self.assertAlmostEqual(line.ratio, 24 / 11)
        self.assertEqual(line.spread, (2.0, 3.0))
        self.assertTrue(line.met)

    def test_second_thread_and_engines(self):
        lines = table.lines(self.report())
        line = self.find(lines, "Second thread", "shortrun")
        self.assertAlmostEqual(line.ratio, 20 / 11)
        self.assertAlmostEqual(self.find(lines, "Engines", "shortrun", form="onednn").ratio, 3.0)

    def test_what_is_missing_says_why(self):
        lines = table.lines(self.report())
        line = self.find(lines, "Peers", "jax")
        self.assertIsNone(line.ratio)
        self.assertIsNone(line.met)
        self.assertEqual(line.why, ["JAX fp32: not installed: no module"])
        self.assertEqual(self.find(lines, "Peers", "torch", "bf16").why, ["shortrun bf16: no bf16 | here"])

    def test_markdown(self):
        text = table.markdown(self.report())
        for piece in ("2.18 (2.00 to 3.00)", "24 (22 to 30)", "not installed: no module", "dropped", "60%",
                      "Targets met: 2 of 3"):
            self.assertIn(piece, text)
        self.assertIn(f"| {4 * 25464832 * 64 / 24e-3 / 1e9:.0f} ", text)  # GFLOP/s of the quick form
        self.assertNotIn("onednn3", text)  # not tried, so not missed
        head, *rows = [line for line in text.partition("## Engines")[0].splitlines() if line.startswith("|")]
        self.assertEqual({line.count("|") for line in rows}, {head.count("|")})


# ---- sample quality -----------------------------------------------------------------------------------------------

PACKAGES = ("pytorch_fid", "cleanfid", "torch_fidelity", "prdc", "vendi_score", "sklearn")
needs_packages = unittest.skipIf(torch is None or any(importlib.util.find_spec(name) is None for name in PACKAGES),
                                 "not all of " + ", ".join(PACKAGES) + " are here")


class QualityTable(unittest.TestCase):
    def report(self):
        def unit(who, name, seconds, peak, **values):
            return {"who": who, "name": name, "seconds": seconds, "peak_mb": [peak] * len(seconds), "values": values}

        return {"date": "2024-01-01 00:00", "machine": {"cpu": "a CPU", "cpus": 2, "load": [0.0, 0.0, 0.0]},
                "versions": {"prdc": "0.2"},
                "settings": {"rows": 10000, "dim": 2048, "rounds": 3, "k": 5, "seed": 1},
                "units": [unit("shortrun", "frechet", [2.0, 1.0, 3.0], 300, frechet=1.0),
                          unit("shortrun", "all", [9.0, 11.0, 10.0], 400, frechet=1.0, kid=0.5, precision=0.25),
                          unit("package", "pytorch-fid", [50.0, 60.0, 40.0], 900, frechet=1.00005),
                          {**unit("package", "clean-fid", [], 0), "error": "not installed: no module"},
                          unit("package", "torch-fidelity", [30.0], 2000, kid=0.500001),
                          unit("package", "torch-fidelity doubles", [60.0], 2000, kid=0.5 + 1e-8),
                          unit("package", "prdc", [40.0], 3000, precision=0.26)]}

    def test_sums_take_the_fastest_of_each_part(self):
        total, peak, names = quality.together(self.report())
        self.assertEqual((total, peak), (50 + 30 + 40, 3000))
        self.assertEqual(names, ["pytorch-fid", "torch-fidelity", "prdc"])

    def test_targets(self):
        report = self.report()
        _, _, fastest, same, _, _, memory = quality.target_lines(report)
        self.assertIn("0.083", fastest)  # of 50 + 30 + 40
        self.assertIn("0.067", same)  # of 50 + 60 + 40
        self.assertTrue(fastest.endswith(": met.") and same.endswith(": met."))
        self.assertTrue(memory.endswith("964 MB: met."))
        slow = copy.deepcopy(report)
        slow["units"][1].update(seconds=[16.0], peak_mb=[1000.0])
        _, _, fastest, same, _, _, memory = quality.target_lines(slow)
        self.assertTrue(all(line.endswith("not met.") for line in (fastest, same, memory)))
        del report["units"][-1]  # no prdc: no sum
        self.assertIn("not measured", quality.target_lines(report)[2])

    def test_values(self):
        rows = {row[1].split(" ", 1)[1]: row for row in quality.value_rows(self.report())}
        self.assertEqual(rows["calculate_frechet_distance"][-1], "yes")
        self.assertEqual(rows["kid_features_to_metric, all rows"][-1], "in float32")
        self.assertEqual(rows["the same in float64"][-1], "yes")
        self.assertEqual(rows["compute_prdc"][-1], "no")

    def test_markdown(self):
        text = quality.markdown(self.report())
        for piece in ("50 (40 to 60)", "2 (1 to 3)", "25.00", "12.00", "clean-fid: not installed: no module"):
            self.assertIn(piece, text)
        for part in text.split("\n\n"):
            self.assertLessEqual(len({line.count("|") for line in part.splitlines() if line.startswith("|")}), 1)

    def test_failures_have_a_reason(self):
        for answer in ("", "{}", '{"metrics": 3}', '{"metrics": {"kid": {}}}', '{"metrics": {}}',
                       '{"metrics": {}, "seconds": {"scores": null}}'):
            with self.assertRaises(quality.Failed):
                quality.answer_of(answer)
        with self.assertRaisesRegex(quality.Failed, "--real DATA is missing"):
            quality.run([SHORTRUN, "evaluate"], dict(os.environ))
        with self.assertRaisesRegex(quality.Failed, "No such file"):
            quality.run(["/nonexistent/program"], dict(os.environ))


@needs_packages
class Quality(unittest.TestCase):
    """Three random feature sets: Frechet to 1e-4, all others to 1e-6, relative."""

    def test_agreement(self):
        cases = tuple(case for case in quality.CASES if not case.unlike)
        for rows, dim, seed in ((400, 16, 1), (500, 64, 2), (300, 128, 3)):
            options = argparse.Namespace(shortrun=SHORTRUN, python=sys.executable, rows=rows, dim=dim, seed=seed, k=5,
                                         rounds=1)
            report = quality.compare(options, cases, (("all",),))
            self.assertEqual([unit["error"] for unit in report["units"] if "error" in unit], [])
            found = [row for row in quality.value_rows(report)]
            self.assertEqual(len(found), 9)  # two Frechet distances, KID, four of prdc, Vendi, 1-NN
            for row in found:
                self.assertEqual(row[-1], "yes", (rows, dim, row))


if __name__ == "__main__":
    passed = unittest.main(exit=False).result.wasSuccessful()
    sys.exit(1 if not passed else 77 if torch is None else 0)
