"""Kill a training run at random moments, resume it each time, and compare its final weights.

The LibriSpeech recipe trains a narrow model on a small synthetic corpus, once undisturbed and once
killed (SIGKILL) at random moments: during setup, during a batch and during a save. Both runs must end
with bit-identical weights.

> python benchmarks/kill_and_resume.py --kills 10
"""

import argparse
import logging
import os
import random
import runpy
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch._dynamo  # a second's work that every optimizer does: before the fork, not after it

from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.training.brain import Brain

RECIPE = Path(__file__).parents[1] / "recipes/LibriSpeech"
STEPS, ACCUMULATION, INTERVAL = 30, 2, 4  # optimizer steps; batches in a step and between checkpoints
FSYNCS = 11  # of one save, about
OPTIONS = {
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 32,
    "max_batch_seconds": 8,
    "eval_loops": "[3]",
    "decoders": "{joint: {beam_size: 2}}",
    "speed_perturb": "!new:speechbrain_recursive.training.augment.UtteranceSpeeds"
    " {orig_freq: 16000, speeds: [95, 100, 105]}",
    "number_of_steps": STEPS,
    "grad_accumulation_factor": ACCUMULATION,
    "ckpt_interval_minutes": 0,
    "ckpt_interval_steps": INTERVAL,
    "log_interval": 3,
    "tensorboard": False,
    "device": "cpu",
}


def train(data_folder, output_folder, death=None):
    """Run the recipe in a child process.

    Arguments
    ---------
    data_folder, output_folder : pathlib.Path
        The recipe's folders.
    death : tuple of (str, float), optional
        When the child is killed, see :func:`draw_death`; never by default.

    Returns
    -------
    bool
        Whether it ran to the end.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            output_folder.mkdir(parents=True, exist_ok=True)
            console = os.open(output_folder / "console.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(console, 1)
            os.dup2(console, 2)
            doom(*death or (None, 0))
            options = {**OPTIONS, "data_folder": data_folder, "output_folder": output_folder}
            words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
            sys.argv = ["train.py", str(RECIPE / "hparams/mini.yaml"), *words, "--noprogressbar"]
            runpy.run_path(str(RECIPE / "train.py"), run_name="__main__")
            status = 0
        except BaseException:
            logging.exception("the run failed")
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"the run failed: see {output_folder / 'console.txt'}")
    return status == 0


def draw_death(rng, kills):
    """Draw a random moment, early enough that `kills` of them leave something to train.

    Arguments
    ---------
    rng : random.Random
        Source of randomness.
    kills : int
        Number of kills planned.

    Returns
    -------
    str
        ``setup``, ``batch`` or ``save``.
    float
        For ``setup``, seconds after the start. For ``batch``, the number of the batch, and as fraction
        the tenths of a second after its start. For ``save``, the number of a flush to disk.
    """
    kind = rng.choices(["setup", "batch", "save"], [1, 4, 4])[0]
    batches = STEPS * ACCUMULATION // (kills + 1)
    if kind == "setup":
        return kind, rng.uniform(0, 0.3)
    if kind == "batch":
        return kind, rng.uniform(1, 1 + batches)
    return kind, rng.randint(1, max(2, FSYNCS * batches // INTERVAL))


def doom(kind, moment):
    """Make this process kill itself at a moment from :func:`draw_death`."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    counted = {"batch": 0, "save": 0}

    def before(function, event, act):
        def counting(*args, **kwargs):
            counted[event] += 1
            if counted[event] == int(moment):
                act()
            return function(*args, **kwargs)

        return counting

    if kind == "setup":
        timer(moment, kill)
    elif kind == "batch":
        late = 0.1 * (moment % 1)
        Brain.fit_batch = before(Brain.fit_batch, "batch", lambda: timer(late, kill))
    elif kind == "save":
        os.fsync = before(os.fsync, "save", kill)


def timer(seconds, act):
    clock = threading.Timer(seconds, act)
    clock.daemon = True
    clock.start()


def main(argv=None):
    """Print each kill and the result; the exit code is 1 if the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1234, help="of the moments")
    parser.add_argument("--folder", type=Path, help="for corpus and results (default: a temporary one)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # one order of sums
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data = LibriSpeech().synthesize(folder / "corpus", n_train=24, n_dev=2, n_test=2)
        start = time.perf_counter()
        if not train(data, folder / "whole"):
            sys.exit("the undisturbed run was killed by something else")
        print(f"undisturbed: {STEPS} steps in {time.perf_counter() - start:.1f} s", flush=True)
        rng, killed = random.Random(options.seed), folder / "killed"
        for number in range(1, options.kills + 1):
            kind, moment = draw_death(rng, options.kills)
            if train(data, killed, (kind, moment)):
                sys.exit(f"the run ended before kill {number}")
            left = sorted(path.name for path in killed.glob("save/*"))
            print(f"kill {number:2d} ({kind} {moment:.2f}), left in save: {' '.join(left)}", flush=True)
        train(data, killed)
        whole, resumed = (
            torch.load(run / "model.ckpt", weights_only=True) for run in (folder / "whole", killed)
        )
        differing = [key for key, value in whole.items() if not torch.equal(value, resumed[key])]
    if differing:
        print(f"weights differ: {', '.join(differing)}")
        return 1
    print(f"{options.kills} kills; all {len(whole)} tensors equal those of the undisturbed run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
