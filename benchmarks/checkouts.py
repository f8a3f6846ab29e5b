"""Training steps of two checkouts of this repository beside each other.

    git worktree add ../before COMMIT
    python benchmarks/checkouts.py ../before [--recipe hparams/mini.yaml]

Each checkout trains its own LibriSpeech recipe in a process of its own, on one synthetic corpus with
one seed, so that both see the same batches. The processes take turns, batch by batch. The benchmark
prints the ratio of the times of a training step, this checkout to the other, and the peak memory of the
steps, beyond what each process held before.
"""

import argparse
import os
import runpy
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Client, Listener
from pathlib import Path
from subprocess import Popen

from pairs import ResidentPeak, free_at_once, median_ratio

HERE = Path(__file__).resolve().parents[1]


def train(checkout, recipe, data_folder, output_folder, address):
    """Train, waiting for a word before each batch; send its seconds and the peak memory after it."""
    from speechbrain_recursive.training.brain import Brain

    assert checkout in Path(sys.modules[Brain.__module__].__file__).parents
    free_at_once()
    fit_batch, peak = Brain.fit_batch, []
    with Client(address) as channel:

        def measured(brain, batch):
            if channel.recv() != "step":
                os._exit(0)
            if not peak:
                peak.append(ResidentPeak())
            start = time.perf_counter()
            loss = fit_batch(brain, batch)
            channel.send((time.perf_counter() - start, peak[0]()))
            return loss

        Brain.fit_batch = measured
        options = {"data_folder": data_folder, "output_folder": output_folder, "tensorboard": False}
        options |= {"device": "cpu", "ckpt_interval_minutes": 0}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        os.chdir(checkout / "recipes/LibriSpeech")
        sys.argv = ["train.py", recipe, *words, "--noprogressbar"]
        runpy.run_path("train.py", run_name="__main__")


def start(listener, checkout, recipe, data_folder, output_folder):
    """Start :func:`train` in a process that imports ``checkout``; return its channel and it."""
    environment = os.environ | {"PYTHONPATH": f"{checkout}"}
    words = [checkout, recipe, data_folder, output_folder, listener.address]
    log = open(f"{output_folder}.log", "w")  # noqa: SIM115 (the process writes to it)
    command = [sys.executable, __file__, "--child", *map(str, words)]
    process = Popen(command, env=environment, stdout=log, stderr=log)
    return listener.accept(), process


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="folder of the other checkout")
    parser.add_argument("--recipe", default="hparams/mini.yaml", help="in recipes/LibriSpeech, in both")
    parser.add_argument("--steps", type=int, default=60, help="timed training steps of each")
    parser.add_argument("--utterances", type=int, default=600, help="in the corpus")
    parser.add_argument("--warmup", type=int, default=5, help="steps before these")
    options = parser.parse_args(argv)
    from speechbrain_recursive.data.librispeech import LibriSpeech

    times, peaks = ([], []), [0, 0]
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/channel", "AF_UNIX") as listener:
        data = LibriSpeech().synthesize(
            f"{folder}/corpus", n_train=options.utterances, n_dev=2, n_test=2
        )
        sides = [
            start(listener, checkout, options.recipe, data, f"{folder}/{name}")
            for name, checkout in (("ours", HERE), ("before", options.before.resolve()))
        ]
        for step in range(-options.warmup, options.steps):
            for side in (0, 1) if step % 2 else (1, 0):
                channel, _ = sides[side]
                channel.send("step")
                seconds, peaks[side] = channel.recv()
                if step >= 0:
                    times[side].append(seconds)
        for channel, process in sides:
            channel.send("stop")
            process.wait()
    medians = " and ".join(f"{statistics.median(each):.4f} s" for each in times)
    print(f"{options.recipe}, {options.steps} training steps of ours and of {options.before}")
    print(f"training step: time ratio {median_ratio(*times)}, medians {medians}")
    sizes = " and ".join(f"{peak / 2**20:.0f} MiB" for peak in peaks)
    print(f"peak memory: ratio {peaks[0] / peaks[1]:.3f}, {sizes}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        checkout, recipe, data, output, address = sys.argv[2:]
        train(Path(checkout), recipe, data, output, address)
    else:
        main()
