"""Programs that start without the seconds that importing PyTorch and SpeechBrain takes.

``python prestart.py SOCKET`` imports them and waits. As ``bin/python`` or ``bin/<console script>``, this
file asks the process behind ``bin/socket`` to fork, and to run the program there: in the caller's folder
and environment, on the caller's streams. This package is imported anew, from the caller's PYTHONPATH.
"""

import array
import json
import os
import signal
import socket
import sys
from pathlib import Path


def ask(address, program, words):
    """Run a program, to which SIGINT and SIGTERM are passed on; returns its exit code."""
    request = json.dumps([program, words, dict(os.environ), os.getcwd()]).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
        server.sendmsg([len(request).to_bytes(4, "big")], streams)
        server.sendall(request)
        job = int.from_bytes(server.recv(4), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(job, number))
        return server.recv(1)[0]


def serve(address):
    """Fork for each request; returns what to run, in the fork."""
    import matplotlib.pyplot  # noqa: F401
    import requests  # noqa: F401
    import scipy.signal
    import scipy.stats  # noqa: F401
    import speechbrain.augment.augmenter
    import speechbrain.inference
    import speechbrain.lobes.models.transformer.Conformer  # noqa: F401
    import torch._dynamo  # noqa: F401
    import torchaudio  # noqa: F401
    from transformers import HubertModel, Wav2Vec2Model  # noqa: F401

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            caller, _ = listener.accept()
            size, streams, *_ = socket.recv_fds(caller, 4, 3)
            with caller, caller.makefile("rb") as message:
                request = message.read(int.from_bytes(size, "big"))
                if os.fork() == 0:
                    job = os.fork()
                    if job == 0:
                        break
                    caller.sendall(job.to_bytes(4, "big"))
                    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
                    caller.sendall(bytes([status % 256]))
                    os._exit(0)
            for stream in streams:
                os.close(stream)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    return json.loads(request)


def start(program, words, environment, folder):
    """Become a program."""
    import runpy
    from importlib.metadata import entry_points

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:1] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [program, *words]
    if program != "python":
        script, *_ = entry_points(group="console_scripts", name=program)
        sys.exit(script.load()())
    sys.argv = words[words[0] == "-u" :]
    if sys.argv[0] == "-m":
        sys.argv.pop(0)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    invoked = Path(sys.argv[0])
    if invoked.name != "prestart.py":
        sys.exit(ask(str(invoked.parent / "socket"), invoked.name, sys.argv[1:]))
    start(*serve(sys.argv[1]))
