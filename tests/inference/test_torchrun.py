"""``torchrun`` shares the files of an archive out to its processes, with one exit code for all."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress


def test_each_file_is_transcribed_by_one_process(trained, librispeech, tmp_path):
    speech, out = next(librispeech.rglob("*.flac")), tmp_path / "texts"
    files = [tmp_path / f"{name}.flac" for name in ("bad", "pipe", "first", "second")]
    files[0].write_bytes(b"no audio")
    os.mkfifo(files[1])  # whose reader, the second process, waits for a writer
    for path in files[2:]:
        shutil.copy(speech, path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = ["-m", "speechbrain_recursive", "transcribe", trained, *files, "--out_dir", out]
    with subprocess.Popen(
        [*torchrun, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == f"{out / 'first.txt'}\n"
        time.sleep(1)  # the first process is done, and torchrun would have ended the second
        end, writer = time.monotonic() + 60, None
        while writer is None and time.monotonic() < end:
            with suppress(OSError):
                writer = os.open(files[1], os.O_WRONLY | os.O_NONBLOCK)
            time.sleep(0.01)
        os.close(writer)
        said, error = process.communicate(timeout=60)
    assert said == f"{out / 'second.txt'}\n"
    texts = [(out / f"{name}.txt").read_text() for name in ("first", "second")]
    assert texts[0] == texts[1]
    assert process.returncode == 1
    assert error.count("error: ") == 2
    for path in files[:2]:
        assert f"{path} cannot be read as audio" in error
