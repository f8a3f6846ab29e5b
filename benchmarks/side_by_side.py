"""Train two models side by side on the same cores, and each of them alone.

> python benchmarks/side_by_side.py [--recipe hparams/mini.yaml] [--spins 3000]

Three processes train the LibriSpeech recipe on one synthetic corpus with one seed: two as recipes start
by default, and one with libgomp's own default, under which waiting threads spin for longer. In each
round, each of the three makes the same training steps while the others wait, and the first two make them
at once. The benchmark prints how many times slower each of the two is beside the other than alone, and
the ratio of the time of the first alone to that with libgomp's default.
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

ROOT = Path(__file__).resolve().parents[1]
LIBGOMP = 300_000  # GOMP_SPINCOUNT where neither it nor OMP_WAIT_POLICY is set
SET = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def train(recipe, data_folder, output_folder, address, steps):
    """Make the first training steps, and then again for every word but "end"; send the seconds.

    The words are "alone", "beside" (then train on until the next word, so that the other is never alone)
    and "wait".
    """
    # Not pairs.py, here or above: torch must not be imported before this package.
    from speechbrain_recursive.training.brain import Brain

    fit_batch, batches = Brain.fit_batch, []
    with Client(address) as channel:

        def measured(brain, batch):
            batches.append(batch)
            loss = fit_batch(brain, batch)
            if len(batches) < steps:
                return loss
            channel.send((Path(output_folder).name, os.environ.get("GOMP_SPINCOUNT")))
            while (word := channel.recv()) != "end":
                start = time.perf_counter()
                for each in batches if word != "wait" else ():
                    fit_batch(brain, each)
                channel.send(time.perf_counter() - start)
                while word == "beside" and not channel.poll():
                    fit_batch(brain, batch)
            os._exit(0)

        Brain.fit_batch = measured
        options = {"data_folder": data_folder, "output_folder": output_folder, "tensorboard": False}
        options |= {"device": "cpu", "ckpt_interval_minutes": 0}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        os.chdir(ROOT / "recipes/LibriSpeech")
        sys.argv = ["train.py", recipe, *words, "--noprogressbar"]
        runpy.run_path("train.py", run_name="__main__")


def start(spins, *words):
    """Start :func:`train` in a process, with a spin count or as it starts by default."""
    environment = {name: value for name, value in os.environ.items() if name not in SET}
    environment |= {"PYTHONPATH": f"{ROOT}"} | ({"GOMP_SPINCOUNT": f"{spins}"} if spins else {})
    log = open(f"{words[2]}.log", "w")  # noqa: SIM115 (the process writes to it)
    command = [sys.executable, __file__, "--child", *map(str, words)]
    return Popen(command, env=environment, stdout=log, stderr=log)


def ask(word, *channels):
    """Say a word to some processes at once; return their answers."""
    for channel in channels:
        channel.send(word)
    return [channel.recv() for channel in channels]


def beside(first, second):
    """Seconds of two that train at once."""
    seconds = ask("beside", first, second)
    ask("wait", first, second)
    return seconds


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="hparams/mini.yaml", help="in recipes/LibriSpeech")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=40, help="training steps of each in a round")
    parser.add_argument("--spins", type=int, help="GOMP_SPINCOUNT of the two, instead of the default")
    options = parser.parse_args(argv)
    if options.rounds < 6:
        parser.error("--rounds: fewer than 6 carry no 95% interval of a median")
    from pairs import median_ratio

    from speechbrain_recursive.data.librispeech import LibriSpeech

    names = {"first": options.spins, "second": options.spins, "libgomp": LIBGOMP}
    alone, together = {name: [] for name in names}, {"first": [], "second": []}
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/channel", "AF_UNIX") as listener:
        size = {"n_train": 40 + 15 * options.steps, "n_dev": 2, "n_test": 2}
        data = LibriSpeech().synthesize(f"{folder}/corpus", **size)
        processes = [
            start(spins, options.recipe, data, f"{folder}/{name}", listener.address, options.steps)
            for name, spins in names.items()
        ]
        channels, seen = {}, {}
        for channel in [listener.accept() for _ in names]:
            name, seen[name] = channel.recv()
            channels[name] = channel
        for number in range(options.rounds):
            order = [*names, "together"]
            for name in order if number % 2 else reversed(order):
                if name in names:
                    alone[name].extend(ask("alone", channels[name]))
                    continue
                for which, seconds in zip(together, beside(*map(channels.get, together)), strict=True):
                    together[which].append(seconds)
        for channel in channels.values():
            channel.send("end")
        for process in processes:
            process.wait()

    def rates(*times):
        return " and ".join(f"{options.steps / statistics.median(each):.1f}" for each in times)

    print(
        f"{options.recipe}, {options.rounds} rounds of {options.steps} steps, {os.cpu_count()} cores, "
        f"GOMP_SPINCOUNT {seen['first']} and, for libgomp's default, {seen['libgomp']}"
    )
    for name, slow in together.items():
        times = slow, alone[name]
        print(f"{name}, beside to alone: time ratio {median_ratio(*times)}, {rates(*times)} steps/s")
    times = alone["first"], alone["libgomp"]
    print(f"alone, to libgomp's default: time ratio {median_ratio(*times)}, {rates(*times)} steps/s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        *words, steps = sys.argv[2:]
        train(*words, int(steps))
    else:
        main()
