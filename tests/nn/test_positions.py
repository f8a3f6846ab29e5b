"""Positional encodings: the stock ones, further, and outside of the state dict."""

import pytest
import torch
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding
from speechbrain.nnet.attention import RelPosEncXL

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.positions import (
    AbsolutePositions,
    RelativePositions,
    Sinusoids,
    positions_for,
)
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.schedule import standard
from speechbrain_recursive.nn.state import State
from speechbrain_recursive.nn.transfer import warm_start


class TestSinusoids:
    """The stock model crashes past its table of 2,500 positions."""

    def test_longer_than_the_table(self, theirs, ours):
        theirs, ours = theirs(2), ours(standard(2))
        warm_start(ours, theirs.state_dict())
        src = torch.randn(1, 2501, 12)
        with torch.no_grad():
            with pytest.raises(RuntimeError):
                theirs.encode(src)
            out = ours.from_features(src, torch.tensor([2501]), request=Request())
            assert out.encoded.isfinite().all()
            assert out.encoded.shape == (1, 2501, 16)
        x = torch.zeros(1, 2501, 16)
        table = ours.embed.positions(State(x)).x
        assert table.shape == (1, 2501, 16)
        assert torch.equal(table[:, :2500], theirs.positional_encoding(x[:, :2500]))
        angle = 2500.0 * 10000.0 ** (-2 / 16)
        torch.testing.assert_close(table[0, 2500, 2], torch.tensor(angle).sin(), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("frames", [1, 4, 2500])
    def test_they_are_the_stock_ones(self, frames):
        x = torch.zeros(2, frames, 8)
        assert torch.equal(Sinusoids(8)(x), PositionalEncoding(8, 2500)(x))

    def test_they_are_added(self):
        x = torch.randn(2, 5, 8)
        seen = AbsolutePositions(8)(State(x))
        assert torch.equal(seen.x, x + PositionalEncoding(8, 2500)(x))
        assert seen.pos is None


def test_relative_positions_are_the_stock_ones():
    x = torch.randn(2, 5, 8)
    seen = RelativePositions(8)(State(x))
    assert torch.equal(seen.pos, RelPosEncXL(8)(x))
    assert seen.pos.shape == (1, 9, 8)
    assert seen.x is x


@pytest.mark.parametrize("attention", ["regularMHA", "RelPosMHAXL", "RoPEMHA"])
def test_constants_stay_out_of_the_state_dict(attention):
    assert not positions_for(attention, 16).state_dict()


def test_for_each_attention():
    assert type(positions_for("regularMHA", 8)) is AbsolutePositions
    assert type(positions_for("RelPosMHAXL", 8)) is RelativePositions
    state = State(torch.randn(1, 2, 8))
    assert positions_for("RoPEMHA", 8)(state) is state


def test_an_attention_without_positions_of_ours():
    with pytest.raises(UserError, match="attention_type 'hypermixing' is none of regularMHA"):
        positions_for("hypermixing", 8)
