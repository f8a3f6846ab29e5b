"""Posterior feedback: what it reads, where it puts it, and what it refuses."""

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.conditioning.feedback import PosteriorFeedback
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import Step, latent
from speechbrain_recursive.nn.state import State


def fed_back(mode, x, readout):
    """What feedback with a random projection adds to x."""
    torch.manual_seed(0)
    hook = PosteriorFeedback(5, 16, mode, gain=0.5)
    torch.nn.init.normal_(hook.project.weight)
    state = State(x, step=Step(1, 0, 1, "recurrent"), readout=readout)
    return hook.before_loop(state).x - x, 0.5 * hook.project(readout(x).softmax(-1))


def test_each_frame_gets_the_previous_one_and_the_first_gets_zero(batch):
    added, posteriors = fed_back("previous", batch, torch.nn.Linear(16, 5))
    assert added[:, 0].eq(0).all()
    torch.testing.assert_close(added[:, 1:], posteriors[:, :-1], atol=1e-6, rtol=0)


def test_each_frame_gets_its_own(batch):
    added, posteriors = fed_back("current", batch, torch.nn.Linear(16, 5))
    torch.testing.assert_close(added, posteriors, atol=1e-6, rtol=0)


def test_an_utterance_of_one_frame(batch):
    added, _ = fed_back("previous", batch[:, :1], torch.nn.Linear(16, 5))
    assert added.eq(0).all()


def test_gain_can_be_fixed_and_is_not_zero():
    assert PosteriorFeedback(5, 16).gain.requires_grad
    assert not PosteriorFeedback(5, 16, learned=False).gain.requires_grad
    with pytest.raises(UserError, match="a gain other than 0"):
        PosteriorFeedback(5, 16, gain=0.0)


def test_refuses_an_unknown_mode():
    with pytest.raises(UserError, match=r"^feedback 'next' is none of previous, current$"):
        PosteriorFeedback(5, 16, "next")


def test_refuses_an_encoder_without_a_head(stock, batch):
    encoder = RecursiveEncoder(stock(1), latent(1, 2, 0, 0), {"recurrent": [PosteriorFeedback(5, 16)]})
    with pytest.raises(ValueError, match="a model with a CTC head"):
        encoder(batch)
    state = State(batch, readout=torch.nn.Linear(16, 5))
    assert encoder.run(state).state.x.shape == batch.shape


def test_the_head_is_not_registered_twice(reader):
    model = reader("transformer", "latent", lambda: [PosteriorFeedback(5, 16)])
    assert [name for name in model.state_dict() if "head" in name] == ["head.weight", "head.bias"]
