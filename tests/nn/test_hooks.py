"""Hooks: when each of their methods acts, and on what."""

from dataclasses import replace

import pytest
import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.schedule import bicycle, cycle, latent
from speechbrain_recursive.nn.state import State


class Diary(Hook):
    """Writes down what is called when, and makes each call visible in the numbers."""

    def __init__(self, name, diary):
        super().__init__()
        self.name, self.diary = name, diary

    def before_loop(self, state):
        self.diary.append((self.name, "before", state.step.block, state.step.loop))
        return replace(state, x=state.x + 1)

    def around_step(self, state, layer, call):
        self.diary.append((self.name, "in", state.step.index))
        x, attention = call(replace(state, x=2 * state.x), layer)
        self.diary.append((self.name, "out", state.step.index))
        return -x, attention

    def leave_block(self, state):
        self.diary.append((self.name, "leave", state.step.block, state.step.loop))
        return replace(state, x=state.x + 10)


def test_a_hook_does_nothing_until_it_is_overridden():
    hook, before = Hook(), State(torch.rand(2, 3, 4))
    assert hook.before_loop(before) is before
    assert hook.leave_block(before) is before
    assert hook.done(before) is None
    assert hook.around_step(before, "layer", lambda s, layer: (s, layer)) == (before, "layer")


def test_order(stock, batch):
    diary = []
    hooks = {"recurrent": [Diary("a", diary), Diary("b", diary)]}
    RecursiveEncoder(stock(3), latent(1, 2, 1, 1), hooks).eval()(batch())
    step = ["b in", "a in", "a out", "b out"]
    assert [" ".join(map(str, entry[:2])) for entry in diary] == [
        *["a before", "b before", *step] * 2,
        *["a leave", "b leave"],
    ]
    assert [entry[3] for entry in diary if entry[1] == "before"] == [0, 0, 1, 1]
    assert [entry[2] for entry in diary if entry[1] == "in"] == [1, 1, 2, 2]
    assert {entry[2] for entry in diary if entry[1] in ("before", "leave")} == {"recurrent"}


@pytest.mark.parametrize("first", [True, False])
def test_added_hooks_run_before_or_after_those_that_are_there(stock, batch, first):
    diary = []
    encoder = RecursiveEncoder(stock(3), latent(1, 2, 1, 1), {"recurrent": [Diary("a", diary)]}).eval()
    encoder.add_hook("recurrent", Diary("b", diary), first=first)
    encoder(batch())
    order = [entry[0] for entry in diary if entry[1] == "before"]
    assert order == (["b", "a"] if first else ["a", "b"]) * 2


def test_star_acts_on_every_block_before_its_own_hooks(stock, batch):
    diary = []
    hooks = {"coda": [Diary("coda", diary)], "*": [Diary("all", diary)]}
    RecursiveEncoder(stock(3), latent(1, 2, 1, 1), hooks).eval()(batch())
    entries = [entry for entry in diary if entry[1] == "before"]
    assert [entry[::2] for entry in entries] == [
        *[("all", "prelude"), ("all", "recurrent"), ("all", "recurrent")],
        *[("all", "coda"), ("coda", "coda")],
    ]


def test_what_they_return_is_what_runs_and_taps_are_taken_first(stock, batch):
    encoder = RecursiveEncoder(stock(2), latent(1, 2, 0, 1), {"recurrent": [Diary("a", [])]})
    shared, coda = encoder.eval().layers
    with torch.no_grad():
        trace = encoder.run(State(batch()), taps=(0, 1, 2))
        first = -shared(2 * (batch() + 1))[0]
        second = -shared(2 * (first + 1))[0]
        last = coda(second + 10)[0]
    assert torch.equal(trace.taps[0].x, first)
    assert torch.equal(trace.taps[1].x, second)
    assert torch.equal(trace.taps[2].x, last)
    assert torch.equal(trace.state.x, last)


def test_on_leaving_the_step_is_the_last_that_ran(stock, batch):
    diary = []
    encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), {"recurrent": [Diary("a", diary)]}).eval()
    encoder(batch(), loops=torch.tensor([1, 3, 2, 1]))
    assert diary[-1] == ("a", "leave", "recurrent", 2)


def test_their_parameters_are_the_encoders(stock):
    hook = Hook()
    hook.gain = torch.nn.Parameter(torch.zeros(1))
    encoder = RecursiveEncoder(stock(1), cycle(1, 2), {"recurrent": [hook]})
    assert "hooks.recurrent.0.gain" in encoder.state_dict()


@pytest.mark.parametrize(
    ("block", "indices"), [("phonetic", [1]), ("linguistic", [2, 3]), ("*", [0, 1, 2, 3, 4])]
)
def test_attach_is_given_the_layers_of_its_blocks(stock, block, indices):
    given = []

    class Attached(Hook):
        def attach(self, layers):
            given.append(layers)

    encoder = RecursiveEncoder(stock(5), bicycle(2, 3, 1, 1), {block: [Attached()]})
    encoder.add_hook(block, Attached())
    assert [sorted(layers) for layers in given] == [indices] * 2
    assert all(layers[i] is encoder.layers[i] for layers in given for i in indices)


def test_a_hook_acts_at_whatever_depth_its_block_is_run(stock, batch):
    diary = []
    encoder = RecursiveEncoder(stock(3), latent(1, 2, 1, 1), {"recurrent": [Diary("a", diary)]}).eval()
    encoder.run(State(batch()), Depth.of(encoder.schedule, 5))
    assert [entry[3] for entry in diary if entry[1] == "before"] == [0, 1, 2, 3, 4]
