"""Small encoders of every family, with convolutions that can leak, and what is done to them."""

from dataclasses import replace

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet.attention import RelPosEncXL
from speechbrain.processing.features import InputNormalization

from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.positions import positions_for

D_MODEL = 16
FEATURES, TOKENS = 12, 9  # of the whole models
SIZES = {"nhead": 2, "d_ffn": 32, "kernel_size": 7, "csgu_linear_units": 24}


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: threads only cost time, and change the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stock():
    """``stock(n, family, attention, ...)``: an encoder of n layers with seeded weights."""

    def build(n, family="transformer", attention="regularMHA", **kwargs):
        torch.manual_seed(0)
        if family == "rope":
            return RopeEncoder(n, D_MODEL, nhead=2, d_ffn=32, **kwargs).eval()
        kwargs |= {"d_model": D_MODEL, "nhead": 2, "attention_type": attention}
        if family == "transformer":
            encoder = TransformerEncoder(n, d_ffn=32, normalize_before=True, **kwargs)
        elif family == "conformer":
            encoder = ConformerEncoder(n, d_ffn=32, kernel_size=7, **kwargs)
        else:
            encoder = BranchformerEncoder(n, kernel_size=7, csgu_linear_units=24, **kwargs)
        let_convolutions_leak(encoder)
        return encoder.eval()

    return build


def let_convolutions_leak(module):
    """Give convolutions weights at which leaking padding shows."""
    for name, parameter in module.named_parameters():
        if "conv" in name and parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture
def positions():
    """``positions(attention, x)``: the stock encoder's ``pos_embs`` for x."""

    def build(attention, x):
        return RelPosEncXL(D_MODEL)(x) if attention == "RelPosMHAXL" else None

    return build


@pytest.fixture(
    params=[
        (family, attention)
        for family in ("transformer", "conformer", "branchformer")
        for attention in ("regularMHA", "RoPEMHA", "RelPosMHAXL")
        if (family, attention) != ("branchformer", "RoPEMHA")  # the stock layer raises
    ],
    ids="-".join,
)
def kind(request):
    """Family and attention of a stock encoder."""
    return request.param


@pytest.fixture
def batch():
    """``batch(rows, frames)``: hidden states [B, T, d], always the same."""

    def build(rows=4, frames=9):
        torch.manual_seed(3)
        return torch.randn(rows, frames, D_MODEL)

    return build


@pytest.fixture
def ragged():
    """Padding of the rows of ``batch()``."""
    return torch.arange(9) >= torch.tensor([9, 6, 4, 1])[:, None]


@pytest.fixture
def loss():
    """Not a plain sum of squares, which the final norm would hold constant."""
    return lambda output: (output * torch.linspace(-1, 2, D_MODEL)).sum()


@pytest.fixture
def gradients():
    """``gradients(module)``: by name of the parameter."""
    return lambda module: {name: parameter.grad for name, parameter in module.named_parameters()}


class Tally(Hook):
    """Writes and reads memory in every loop and on leaving; may end rows at loops of their own."""

    def __init__(self, ends=None):
        super().__init__()
        self.ends = ends

    def before_loop(self, state):
        memory = dict(state.memory)
        if state.step.loop == 0:
            memory["sum"] = torch.zeros_like(state.x)
            if self.ends is not None:
                memory["ends"] = self.ends
        elif state.step.loop == 1:
            memory["second"] = state.x
        memory["sum"] = memory["sum"] + state.x
        return replace(state, x=state.x + 0.1 * memory["sum"], memory=memory)

    def leave_block(self, state):
        return replace(state, x=state.x + state.memory["sum"])

    def done(self, state):
        return None if self.ends is None else state.memory["ends"] <= state.step.loop + 1


class Pool(Hook):
    """Halves the time axis on leaving a block."""

    def leave_block(self, state):
        frames = (state.frames + 1) // 2
        x = state.x
        if state.pad is not None:
            x = x.masked_fill(state.pad[..., None], 0.0)
        x = torch.nn.functional.pad(x, (0, 0, 0, x.shape[1] % 2)).unflatten(1, (-1, 2)).sum(2)
        return state.resize(x, frames)


class Inject(Hook):
    """Adds the state at the block's entry to what every later loop begins with."""

    injects = True

    def before_loop(self, state):
        if state.step.loop == 0:
            return state.remember(z0=state.x)
        return replace(state, x=state.x + state.memory["z0"])


@pytest.fixture
def tally():
    """The class ``Tally``."""
    return Tally


@pytest.fixture
def pool():
    """The class ``Pool``."""
    return Pool


@pytest.fixture
def inject():
    """The class ``Inject``."""
    return Inject


@pytest.fixture(
    params=[
        ("transformer", "regularMHA"),
        ("transformer", "RoPEMHA"),
        ("transformer", "RelPosMHAXL"),
        ("conformer", "RelPosMHAXL"),
        ("conformer", "regularMHA"),
        ("branchformer", "RelPosMHAXL"),
    ],
    ids="-".join,
)
def asr_kind(request):
    """Family and attention of a whole model."""
    return request.param


@pytest.fixture
def theirs():
    """``theirs(n, family, attention, ...)``: a stock ``TransformerASR`` of n encoder layers."""

    def build(n, family="transformer", attention="regularMHA", **options):
        torch.manual_seed(0)
        options = {
            "encoder_module": family,
            "attention_type": attention,
            "positional_encoding": "fixed_abs_sine" if attention == "regularMHA" else None,
            "d_model": D_MODEL,
            "num_decoder_layers": 2,
            "normalize_before": True,
            "causal": False,
        } | options
        return TransformerASR(TOKENS, FEATURES, num_encoder_layers=n, **SIZES | options).eval()

    return build


class NoFrontEnd(torch.nn.Module):
    """Leaves the features as they are."""

    def forward(self, features, frames):
        return features, frames


@pytest.fixture
def ours():
    """``ours(schedule, family, attention, ...)``: our parts in the sizes of ``theirs``."""

    def build(schedule, family="transformer", attention="regularMHA", hooks=None, **options):
        torch.manual_seed(1)
        options = {"encoder_module": family, "attention_type": attention, **SIZES, **options}
        embed = FilterbankEmbedding(
            Fbank(n_mels=FEATURES),
            InputNormalization(norm_type="sentence"),
            NoFrontEnd(),
            FEATURES,
            D_MODEL,
            dropout=options.get("dropout", 0.1),
            positions=positions_for(attention, D_MODEL),
        )
        layers = stock_layers(schedule.n_layers, D_MODEL, **options)
        decoding = {name: options[name] for name in ("nhead", "d_ffn", "dropout") if name in options}
        heads = {
            "ctc": CTCHead(D_MODEL, TOKENS),
            "seq2seq": Seq2SeqHead(D_MODEL, TOKENS, num_layers=2, **decoding),
        }
        return ASRModel(embed, RecursiveEncoder(layers, schedule, hooks), heads).eval()

    return build


@pytest.fixture
def recording():
    """``recording(module)``: a list that gets what the module returns at each call."""

    def record(module):
        calls = []
        module.register_forward_hook(lambda module, inputs, output: calls.append(output))
        return calls

    return record
