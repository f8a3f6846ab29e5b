import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.sphere import Sphere, read_sphere
from speechbrain_recursive.errors import UserError

LDC = """NIST_1A
   1024
conversation_id -s4 2001
channel_count -i 2
sample_count -i 4000
sample_rate -i 8000
sample_n_bytes -i 1
sample_coding -s4 ulaw
sample_byte_format -s1 1
end_head
"""


@pytest.fixture
def path(tmp_path):
    """A second of noise as libsndfile writes it."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))
    soundfile.write(tmp_path / "a.sph", noise, 8000, format="NIST", subtype="ULAW")
    return tmp_path / "a.sph"


def test_header(path):
    assert read_sphere(path) == Sphere(8000, 2, 8000)
    assert read_sphere(path).duration == 1.0


def test_the_ldcs_header(tmp_path):
    path = tmp_path / "a.sph"
    path.write_bytes(LDC.encode().ljust(1024) + bytes(range(250)) * 32)
    assert read_sphere(path) == Sphere(4000, 2, 8000)
    assert soundfile.info(path).frames == 4000


def test_segments_and_channels_are_read_as_from_the_whole_file(path):
    whole, _ = soundfile.read(path, dtype="float32")
    for channel in (0, 1):
        part = read_audio(path, 8000, start=0.25, stop=0.5, channel=channel)
        assert np.array_equal(part.numpy(), whole[2000:4000, channel])


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.1])
def test_a_file_that_was_cut_short_is_named(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    soundfile.info(path)  # libsndfile sees nothing wrong
    with pytest.raises(UserError, match=rf"^{path} was cut short: its header counts 8000 samples"):
        read_sphere(path)


def test_a_compressed_file_is_named(tmp_path):
    path = tmp_path / "a.sph"
    coding = "sample_coding -s26 ulaw,embedded-shorten-v2.00"
    path.write_bytes(LDC.replace("sample_coding -s4 ulaw", coding).encode().ljust(1024) + bytes(999))
    with pytest.raises(UserError, match=f"^{path} is compressed .*shorten.*sph2pipe"):
        read_sphere(path)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF1234WAVE", b"NIST_1A\n   1024\nend_head\n", b"NIST_1A\nx\n"]
)
def test_what_is_no_sphere_file_is_named(tmp_path, data):
    path = tmp_path / "a.sph"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"^{path} has no SPHERE header"):
        read_sphere(path)
