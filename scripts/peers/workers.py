"""The peers' processes as compare.py sees them. A peer lives as long as the comparison, so that it compiles once;
no two work at the same time, because each request is waited for."""
from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path


class Failed(Exception):
    """What a peer cannot do; the text stands in the table."""


def environment(threads: int) -> dict[str, str]:
    n = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": n,
        "MKL_NUM_THREADS": n,
        "OPENBLAS_NUM_THREADS": n,
        # XLA has no number of threads among its flags: NPROC is the size of its pools.
        "NPROC": n,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "JAX_PLATFORMS": "cpu",
        # Large activations stay with the process, in huge pages. Without it they are given back to the kernel and
        # faulted in anew at every step, which costs PyTorch 10 to 30%.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
        "THP_MEM_ALLOC_ENABLE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Worker:
    def __init__(self, python: str, peer: str, threads: int, patience: float):
        self.peer, self.patience = peer, patience
        self.log = tempfile.TemporaryFile("w+", errors="replace")
        script = Path(__file__).with_name("worker.py")
        try:
            self.process = subprocess.Popen([python, str(script), peer, "--threads", str(threads)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                            env=environment(threads))
        except OSError as error:
            raise Failed(f"{python}: {error.strerror} (scripts/peers/setup makes it)") from None
        self._read()

    def ask(self, what: str, **values) -> dict:
        try:
            self.process.stdin.write(json.dumps({"do": what, **values}) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(self._died()) from None
        return self._read()

    def _read(self) -> dict:
        late = threading.Timer(self.patience, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        if not line:
            raise Failed(self._died())
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _died(self) -> str:
        status = self.process.wait()
        self.log.seek(0)
        said = self.log.read().strip().splitlines()
        return f"the process ended with status {status}" + (f": {said[-1]}" if said else "")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
