"""``RecursiveTransformerASR`` beside the ``TransformerASR`` that it extends."""

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.nn.asr import RecursiveTransformerASR
from speechbrain_recursive.nn.schedule import latent, standard
from speechbrain_recursive.nn.state import Hook

SIZES = {
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 32,
    "num_decoder_layers": 2,
    "kernel_size": 7,
    "csgu_linear_units": 24,
    "normalize_before": True,
    "causal": False,
}
CASES = [
    ("transformer", "regularMHA", "fixed_abs_sine"),
    ("transformer", "RoPEMHA", None),
    ("transformer", "RelPosMHAXL", None),
    ("conformer", "RelPosMHAXL", None),
    ("conformer", "regularMHA", "fixed_abs_sine"),
    ("branchformer", "RelPosMHAXL", None),
]


def stock(n, family, attention, table, **kwargs):
    torch.manual_seed(0)
    kinds = {
        "encoder_module": family,
        "attention_type": attention,
        "positional_encoding": table,
    }
    return TransformerASR(9, 12, num_encoder_layers=n, **SIZES | kinds | kwargs).eval()


def ours(schedule, family="transformer", attention="regularMHA", table="fixed_abs_sine", **kwargs):
    torch.manual_seed(1)
    kinds = {
        "encoder_module": family,
        "attention_type": attention,
        "positional_encoding": table,
    }
    return RecursiveTransformerASR(9, 12, schedule, **SIZES | kinds | kwargs).eval()


def batch(rows=2, frames=11):
    torch.manual_seed(2)
    return torch.randn(rows, frames, 12), torch.tensor([[1, 4, 5, 0], [1, 3, 7, 8]])[:rows]


@pytest.mark.parametrize("case", CASES)
def test_starts_warm_from_a_stock_checkpoint_and_computes_the_same(case, tmp_path):
    theirs = stock(3, *case)
    torch.save(theirs.state_dict(), tmp_path / "model.ckpt")
    mine = ours(standard(3), *case)
    src, tgt = batch()
    assert not torch.equal(mine.encode(src), theirs.encode(src))
    mine.load_state_dict(torch.load(tmp_path / "model.ckpt"), strict=True)
    theirs.load_state_dict(mine.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(mine.encode(src), theirs.encode(src))
        for seen, expected in zip(mine(src, tgt), theirs(src, tgt), strict=True):
            assert torch.equal(seen, expected)
        encoded, lengths = theirs.encode(src), torch.tensor([11, 7])
        seen, expected = (net.decode(tgt, encoded, lengths) for net in (mine, theirs))
        assert torch.equal(seen[0], expected[0])
        assert torch.equal(seen[1], expected[1])


def test_a_stock_checkpoint_of_the_physical_layers_starts_a_deeper_model():
    theirs = stock(3, *CASES[0])
    mine = ours(latent(1, 4, 1, 1))
    mine.load_state_dict(theirs.state_dict(), strict=True)
    src, _ = batch()
    assert torch.equal(mine.encode(src, loops=1), theirs.encode(src))


@pytest.mark.parametrize("causal", [False, True])
def test_padded_and_causal_batches_and_four_dimensions(causal):
    theirs = stock(3, *CASES[0], causal=causal)
    mine = ours(standard(3), causal=causal)
    mine.load_state_dict(theirs.state_dict())
    src, tgt = batch()
    lengths = torch.tensor([1.0, 0.6])
    with torch.no_grad():
        for seen, expected in zip(
            mine(src.unflatten(2, (4, 3)), tgt, lengths),
            theirs(src.unflatten(2, (4, 3)), tgt, lengths),
            strict=True,
        ):
            assert torch.equal(seen, expected)
        assert torch.equal(mine.encode(src, lengths), theirs.encode(src, lengths))


def test_training_equals_the_stock_model_under_one_seed():
    kwargs = {"dropout": 0.1, "layerdrop_prob": 0.4}
    theirs, mine = stock(4, *CASES[3], **kwargs), ours(standard(4), *CASES[3], **kwargs)
    mine.load_state_dict(theirs.state_dict())
    for net in (theirs, mine):
        torch.manual_seed(4)
        encoded, decoded = net.train()(*batch())
        (torch.cat([encoded, decoded], 1) * torch.linspace(-1, 2, 16)).sum().backward()
    other = dict(mine.named_parameters())
    for name, parameter in theirs.named_parameters():
        assert (parameter.grad is None) == (other[name].grad is None), name
        assert parameter.grad is None or torch.equal(parameter.grad, other[name].grad), name


@pytest.mark.parametrize("case", CASES)
def test_each_row_makes_its_own_loops(case):
    net = ours(latent(1, 3, 1, 1), *case)
    src, tgt = batch()
    counts, lengths = torch.tensor([4, 2]), torch.tensor([1.0, 7 / 11])
    with torch.no_grad():
        encoded, decoded = net(src, tgt, lengths, loops=counts)
        assert torch.equal(net.encode(src, lengths, loops=counts), encoded)
        for row, frames in enumerate((11, 7)):
            alone = net(src[row : row + 1, :frames], tgt[row : row + 1], loops=int(counts[row]))
            torch.testing.assert_close(encoded[row, :frames], alone[0][0])
            torch.testing.assert_close(decoded[row], alone[1][0])


class TestStreaming:
    """Chunk by chunk equals the whole utterance under the chunk mask."""

    @pytest.mark.parametrize("left", [1, 3])
    @pytest.mark.parametrize("loops", [None, 1, 2, 5])
    def test_equals_masked(self, left, loops):
        net = ours(latent(2, 3, 1, 1), "conformer", "RelPosMHAXL", None)
        for name, parameter in net.named_parameters():
            if "conv" in name and parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        config = DynChunkTrainConfig(4, left)
        torch.manual_seed(2)
        src = torch.randn(2, 22, 12)
        with torch.no_grad():
            masked = net.encode(src, dynchunktrain_config=config, loops=loops)
            assert not torch.allclose(masked, net.encode(src, loops=loops), atol=1e-2)
            context = net.make_streaming_context(config, encoder_kwargs={"loops": loops})
            chunks = [net.encode_streaming(chunk, context) for chunk in src.split(4, dim=1)]
        torch.testing.assert_close(torch.cat(chunks, 1), masked, atol=1e-5, rtol=1e-4)

    def test_one_context_for_each_logical_step(self):
        net = ours(latent(2, 3, 1, 1), "conformer", "RelPosMHAXL", None)
        config = DynChunkTrainConfig(4, 2)
        assert len(net.make_streaming_context(config).encoder_context.layers) == 8
        context = net.make_streaming_context(config, encoder_kwargs={"loops": 5}).encoder_context
        assert len(context.layers) == 12
        assert len({id(layer) for layer in context.layers}) == 12
        assert str(context.schedule) == "0 | (1-2)x5 | 3"


class TestPositions:
    """The stock model crashes past its table of 2,500 positions."""

    def test_longer_than_the_table(self):
        theirs, mine = stock(2, *CASES[0]), ours(standard(2))
        mine.load_state_dict(theirs.state_dict())
        src = torch.randn(1, 2501, 12)
        with torch.no_grad():
            with pytest.raises(RuntimeError):
                theirs.encode(src)
            assert mine.encode(src).isfinite().all()
        x = torch.zeros(1, 2501, 16)
        table = mine.positional_encoding(x)
        assert table.shape == (1, 2501, 16)
        assert torch.equal(table[:, :2500], theirs.positional_encoding(x[:, :2500]))
        angle = 2500.0 * 10000.0 ** (-2 / 16)
        torch.testing.assert_close(table[0, 2500, 2], torch.tensor(angle).sin(), atol=1e-3, rtol=0)

    def test_the_decoders_too(self):
        net = ours(standard(1), *CASES[3], max_length=3)
        assert net(*batch())[1].isfinite().all()


class Gain(Hook):
    """A matrix that starts at zero, which the stock initialization would overwrite."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(16, 16))


def test_hooks_keep_their_initial_values():
    net = ours(latent(1, 2, 1, 1), hooks={"recurrent": [Gain()]})
    assert not net.state_dict()["encoder.hooks.recurrent.0.weight"].any()


def test_no_decoder():
    net = ours(standard(2), num_decoder_layers=0)
    assert not hasattr(net, "decoder")
    assert net.encode(batch()[0]).shape == (2, 11, 16)


def test_a_decoder_needs_positions():
    with pytest.raises(ValueError, match="positional_encoding: fixed_abs_sine"):
        ours(standard(1), "transformer", "regularMHA", None)
