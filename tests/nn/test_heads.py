"""Heads: log-posteriors of the state, and what they need for it."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.state import State

SIZES = {"nhead": 2, "d_ffn": 32}


def test_ctc_is_a_linear_layer_and_a_softmax():
    torch.manual_seed(0)
    head, state = CTCHead(16, 9), State(torch.randn(2, 5, 16))
    seen = head(state)
    assert seen.shape == (2, 5, 9)
    assert torch.equal(seen, head.linear(state.x).log_softmax(-1))
    assert not head.targets


@pytest.fixture
def seq2seq():
    """A decoder, frames of which the last row has seven, and tokens of which it has three."""
    torch.manual_seed(0)
    head = Seq2SeqHead(16, 9, num_layers=2, **SIZES).eval()
    pad = torch.arange(11) >= torch.tensor([11, 7])[:, None]
    tokens = torch.tensor([[1, 4, 5, 6], [1, 3, 7, 0]])
    return head, State(torch.randn(2, 11, 16), pad=pad), tokens


class TestSeq2Seq:
    """What the stock decoder computes is tested in test_layers.py."""

    def test_rows_are_what_they_are_alone(self, seq2seq):
        head, state, tokens = seq2seq
        with torch.no_grad():
            together = head(state.remember(tokens_bos=tokens))
            torch.testing.assert_close(together.exp().sum(-1), torch.ones(2, 4))
            alone = head(State(state.x[1:, :7]).remember(tokens_bos=tokens[1:, :3]))
        torch.testing.assert_close(together[1, :3], alone[0])

    def test_no_token_sees_a_later_one(self, seq2seq):
        head, state, tokens = seq2seq
        other = tokens.clone()
        other[:, 2:] = 8
        with torch.no_grad():
            seen, changed = (head(state.remember(tokens_bos=each)) for each in (tokens, other))
        assert torch.equal(seen[:, :2], changed[:, :2])
        assert not torch.allclose(seen[:, 2:], changed[:, 2:], atol=1e-3)

    def test_decode_is_teacher_forcing_prefix_by_prefix(self, seq2seq):
        head, state, tokens = seq2seq
        tokens = tokens.masked_fill(tokens == 0, 2)
        with torch.no_grad():
            whole = head(state.remember(tokens_bos=tokens))
            for length in (1, 2, 4):
                decoded, attention = head.decode(tokens[:, :length], state.x, state.frames)
                seen = head.linear(decoded[:, -1]).log_softmax(-1)
                torch.testing.assert_close(seen, whole[:, length - 1])
                assert attention.shape == (2, length, 11)
                assert attention[1, :, 7:].eq(0).all(), "padded frames"
        assert not head.decode(tokens, state.x)[0].requires_grad

    def test_names_what_it_reads(self):
        assert Seq2SeqHead(16, 9, num_layers=1, **SIZES).targets == ("tokens_bos",)

    @pytest.mark.parametrize("layers", [0, -1])
    def test_a_decoder_has_layers(self, layers):
        with pytest.raises(UserError, match="needs a decoder layer"):
            Seq2SeqHead(16, 9, num_layers=layers, **SIZES)


def test_log_posteriors_are_float32_under_autocast(seq2seq):
    head, state, tokens = seq2seq
    with torch.autocast("cpu", torch.bfloat16):
        assert CTCHead(16, 9)(state).dtype == torch.float32
        assert head(state.remember(tokens_bos=tokens)).dtype == torch.float32
