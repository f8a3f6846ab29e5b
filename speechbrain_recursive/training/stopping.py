"""Stops a training at Ctrl-C or SIGTERM, after a checkpoint is saved."""

import os
import signal
import threading

import torch


class Stopped(KeyboardInterrupt):
    """The training was asked to stop, and its state is saved.

    Arguments
    ---------
    number : int
        The signal, such as ``signal.SIGTERM``.
    step : int
        The optimizer step at which it stopped.
    """

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped after step {step}; repeat the command to resume")
        self.number = number


class StopRequest:
    """Notes SIGINT and SIGTERM while it is entered, instead of ending the process.

    A second signal ends it at once. Signals reach the main thread alone, so that in another thread this
    does nothing.

    Example
    -------
    >>> with StopRequest() as stop:
    ...     before = stop.received()
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     before, stop.received() == signal.SIGTERM
    (0, True)
    """

    def __init__(self):
        self.number = 0

    def __enter__(self):
        self._before, self._process = {}, os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def received(self) -> int:
        """The signal that any process of the training has received, or 0.

        All processes of a distributed training must call this together, so that they stop at the same
        step.
        """
        if not torch.distributed.is_initialized():
            return self.number
        numbers = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(numbers, self.number)
        return max(numbers)

    def _note(self, number, frame):
        if os.getpid() != self._process:  # a loader's process, which the training stops itself
            return
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        # Not the logger: the signal may have interrupted it.
        os.write(2, b"\nSaving a checkpoint, then stopping. A second signal stops at once.\n")
