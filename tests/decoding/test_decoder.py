"""A decoder of one's own: one class, with defaults for the rest."""

import pytest

from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.nn.request import Request


def test_a_decoder_reads_ctc_runs_everywhere_and_accepts_every_model_by_default():
    class Nothing(Decoder):
        def build(self, setting):
            return lambda outputs: []

    assert Nothing.request == Request(heads={"ctc"})
    assert not Nothing.trained_only
    assert Nothing().check(None) is None


def test_a_decoder_without_build_is_named():
    class Unfinished(Decoder):
        pass

    with pytest.raises(TypeError, match="Unfinished"):
        Unfinished().build(None)
