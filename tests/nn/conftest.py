"""Stock SpeechBrain encoders of every family, small and with convolutions that can leak."""

import pytest
import torch
from speechbrain.lobes.models.transformer.Branchformer import BranchformerEncoder
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import RelPosEncXL

D_MODEL = 16


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
        kwargs |= {"d_model": D_MODEL, "nhead": 2, "attention_type": attention}
        if family == "transformer":
            encoder = TransformerEncoder(n, d_ffn=32, normalize_before=True, **kwargs)
        elif family == "conformer":
            encoder = ConformerEncoder(n, d_ffn=32, kernel_size=7, **kwargs)
        else:
            encoder = BranchformerEncoder(n, kernel_size=7, csgu_linear_units=24, **kwargs)
        for name, parameter in encoder.named_parameters():
            if "conv" in name and parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        return encoder.eval()

    return build


@pytest.fixture
def positions():
    """``positions(attention, x)``: the stock encoder's ``pos_embs`` for x."""

    def build(attention, x):
        return RelPosEncXL(D_MODEL)(x) if attention == "RelPosMHAXL" else None

    return build
