"""Kills a training at random moments, lets it resume from its checkpoints each time, and compares the end, bit by bit,
with a training that nobody killed: two seeds, Adam, momentum of values, a cosine, shuffled batches, a validation split.

    python scripts/kills.py                    # 20 kills, on two threads
    python scripts/kills.py --ranks 2          # on two MPI ranks (mpiexec)
    python scripts/kills.py --kills 3 --optimizer nesterov
    python scripts/kills.py --late             # asynchronous BP: stashed weights, prediction, compensation

A kill is SIGKILL to the whole group of processes. Moments are drawn from the time that an undisturbed training takes,
start-up included, so some fall before the first checkpoint, into the writing of one, or behind the end. Exit code 1 if
a bit differs.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = (0, 1)


def child(arguments: argparse.Namespace) -> None:
    """One attempt: from wherever the checkpoints are to the end, whose digest goes into a file."""
    import numpy as np

    import pcsim

    rng = np.random.default_rng(5)
    x, labels = rng.normal(size=(600, 20)), rng.integers(0, 4, 600)
    x[np.arange(600), labels] += 2
    if arguments.late:
        algorithm = pcsim.AsyncBP(
            1e-3, "momentum", weights="stashed", accumulate=2, weight_prediction=True, spike_compensation=True
        )
    else:
        algorithm = pcsim.IPC(1e-3, (0.5, 0.2), arguments.optimizer, value_momentum=0.5)
    runs = pcsim.train_seeds(
        lambda seed: pcsim.Network.mlp([20, 48, 40, 24, 4], bias=True, seed=seed),
        algorithm,
        x,
        np.eye(4)[labels],
        seeds=SEEDS,
        epochs=arguments.epochs,
        batch_size=16,
        steps_per_batch=None if arguments.late else 4,
        schedule="cosine",
        warmup=50,
        validation=0.1,
        patience=10**6,
        backend="mpi" if arguments.ranks else "threads",
        workers=1 if arguments.ranks else 2,
        checkpoint=arguments.folder / "training.npz",
        checkpoint_every=97,
        resume=True,
    )
    found = hashlib.sha256()
    for run in runs:
        for array in (*run.network.weights, *run.network.biases, *run.values, *run.best.weights):
            found.update(array.tobytes())
        found.update(repr((run.updates, run.energy, run.loss, vars(run.evaluations)["validation_loss"])).encode())
    end = arguments.folder / f"end-{os.getpid()}"
    end.write_text(found.hexdigest())
    os.replace(end, arguments.folder / "end")


def start(arguments: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    launcher = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(launcher) if launcher.exists() else shutil.which("mpiexec") or "mpiexec"
    words = [mpiexec, "-n", str(arguments.ranks)] if arguments.ranks else []
    words += [sys.executable, __file__, "--child", "--folder", str(folder), "--epochs", str(arguments.epochs)]
    words += ["--optimizer", arguments.optimizer, "--ranks", str(arguments.ranks), *["--late"] * arguments.late]
    return subprocess.Popen(words, start_new_session=True)


def attempt(arguments: argparse.Namespace, folder: Path, patience: float | None) -> bool:
    """One attempt, killed after so many seconds; whether it came to its end before."""
    process = start(arguments, folder)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    if process.returncode:
        raise SystemExit(f"a training ended with exit code {process.returncode}")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=0, help="0: two threads of one process")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--late", action="store_true", help="asynchronous BP in place of iPC")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return 0
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        whole.mkdir()
        broken.mkdir()
        attempt(arguments, whole, None)  # compiles, where nothing is kept
        for file in whole.iterdir():
            file.unlink()
        began = time.monotonic()
        attempt(arguments, whole, None)
        usual, killed, ends = time.monotonic() - began, 0, 0
        moments = []
        while killed < arguments.kills:
            moment = rng.uniform(0.2, 1.0) * usual
            if attempt(arguments, broken, moment):  # it has come to its end: from the beginning again
                ends += 1
                if (broken / "end").read_text() != (whole / "end").read_text():
                    print(f"DIFFERENT after {killed} kills")
                    return 1
                for file in broken.iterdir():
                    file.unlink()
            else:
                killed += 1
                moments.append(round(moment / usual, 2))
        attempt(arguments, broken, None)
        same = (broken / "end").read_text() == (whole / "end").read_text()
        print(
            f"{killed} kills at {moments} of {usual:.1f} s; {ends + 1} ends, {'the same bits' if same else 'DIFFERENT'}"
        )
        return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
