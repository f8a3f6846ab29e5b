"""The recursive encoder against the stock one, against loops by hand, and its exits."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from speechbrain_recursive.nn.backprop import Backprop
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.schedule import Block, Schedule, bicycle, cycle, latent, standard
from speechbrain_recursive.nn.state import State


def same(first, second):
    """Equal to the bit, through lists and attention that a layer does not give."""
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return second is None if first is None else torch.equal(first, second)


class TestStandard:
    """Under ``standard(n)`` nothing but the class has changed."""

    def test_eval(self, stock, positions, kind, batch):
        family, attention = kind
        theirs = stock(3, family, attention, output_hidden_states=True)
        ours = RecursiveEncoder(copy.deepcopy(theirs), standard(3)).eval()
        x = batch()
        pos = positions(attention, x)
        with torch.no_grad():
            expected = theirs(x, pos_embs=pos)
            assert same(expected, ours(x, pos_embs=pos))
        assert len(expected) == 3
        assert len(expected[2]) == 4
        assert list(theirs.state_dict()) == list(ours.state_dict())

    def test_training_step(self, stock, positions, kind, batch, loss, gradients):
        family, attention = kind
        theirs = stock(5, family, attention, dropout=0.1, layerdrop_prob=0.4)
        ours = RecursiveEncoder(copy.deepcopy(theirs), standard(5))
        x = batch()
        results = []
        for encoder in (theirs, ours):
            encoder.train()
            optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
            torch.manual_seed(5)
            entry = x.clone().requires_grad_()
            output, attended = encoder(entry, pos_embs=positions(attention, x))
            loss(output).backward()
            optimizer.step()
            assert len(attended) == 4, "the seed drops one of five layers"
            results.append([output, attended, entry.grad])
        assert same(*results)
        assert gradients(theirs).keys() == gradients(ours).keys()
        for name, gradient in gradients(theirs).items():
            assert same(gradient, gradients(ours)[name]), name
        for name, value in theirs.state_dict().items():
            assert torch.equal(value, ours.state_dict()[name]), name

    def test_padded_transformer(self, stock, batch, ragged):
        theirs = stock(3)
        ours = RecursiveEncoder(copy.deepcopy(theirs), standard(3)).eval()
        arguments = {"src_mask": torch.ones(9, 9).triu(1).bool(), "src_key_padding_mask": ragged}
        with torch.no_grad():
            assert same(theirs(batch(), **arguments), ours(batch(), **arguments))


class TestLoops:
    """Recursion is what a loop over the stock layers computes."""

    def test_cycle_is_passes_and_one_norm(self, stock, positions, kind, batch):
        family, attention = kind
        theirs = stock(2, family, attention)
        ours = RecursiveEncoder(copy.deepcopy(theirs), cycle(2, 3)).eval()
        x = batch()
        pos = positions(attention, x)
        with torch.no_grad():
            output, attended = ours(x, pos_embs=pos)
            for _ in range(3):
                for layer in theirs.layers:
                    x, _ = layer(x, pos_embs=pos)
            assert torch.equal(output, theirs.norm(x))
        assert len(attended) == 6

    @pytest.mark.parametrize("loops", [None, 1, 2, 5, {"recurrent": 4}])
    def test_latent_is_a_loop_by_hand(self, stock, batch, loops):
        encoder = RecursiveEncoder(stock(4), latent(2, 3, 1, 1)).eval()
        prelude, first, second, coda = encoder.layers
        x = batch()
        with torch.no_grad():
            output, _ = encoder(x, loops=loops)
            x, _ = prelude(x)
            for _ in range(loops["recurrent"] if isinstance(loops, dict) else loops or 3):
                x, _ = first(x)
                x, _ = second(x)
            x, _ = coda(x)
            assert torch.equal(output, encoder.norm(x))

    def test_another_schedule_over_the_same_layers(self, stock, batch):
        encoder = RecursiveEncoder(stock(4), standard(4)).eval()
        with torch.no_grad():
            seen = encoder.run(State(batch()), Depth.of(latent(2, 2, 1, 1), 3)).state.x
            whole = RecursiveEncoder(stock(4), latent(2, 3, 1, 1)).eval()
            expected = whole.run(State(batch())).state.x
            assert torch.equal(seen, expected)
            through_forward, _ = encoder(batch(), loops=latent(2, 3, 1, 1))
            assert torch.equal(through_forward, encoder.norm(expected))

    def test_gradient_of_a_shared_layer_is_the_sum_over_its_uses(self, stock, batch, loss, gradients):
        shared = RecursiveEncoder(stock(4), latent(2, 3, 1, 1))
        order = [step.layer for step in shared.schedule]
        untied = stock(len(order))
        untied.layers = torch.nn.ModuleList(copy.deepcopy(shared.layers[i]) for i in order)
        untied.norm = copy.deepcopy(shared.norm)
        untied = RecursiveEncoder(untied, standard(len(order)))
        for encoder in (shared, untied):
            loss(encoder(batch())[0]).backward()
        for layer, module in enumerate(shared.layers):
            uses = [gradients(untied.layers[i]) for i, of in enumerate(order) if of == layer]
            for name, gradient in gradients(module).items():
                torch.testing.assert_close(gradient, sum(use[name] for use in uses))

    def test_bf16_autocast(self, stock, batch, ragged, loss, gradients):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            x = torch.nn.Linear(16, 16)(batch())
            output, _ = encoder(x, loops=torch.tensor([1, 3, 2, 1]), src_key_padding_mask=ragged)
        loss(output.float()).backward()
        assert all(g is not None and g.isfinite().all() for g in gradients(encoder).values())


class Waver(Hook):
    """Ends rows at loops that depend on their own frames."""

    def done(self, state):
        real = torch.ones_like(state.x[..., 0]) if state.pad is None else (~state.pad).float()
        mean = (state.x[..., 0] * real).sum(1) / real.sum(1)
        return mean * 1000 % 4 < 1 + state.step.loop


SCHEDULES = {"latent": latent(1, 4, 1, 1), "bicycle": bicycle(2, 3, 3, 2), "cycle": cycle(2, 4)}
REQUESTS = {"all": None, "rows": [1, 4, 2, 3]}
HOOKS = {
    "nothing": {},
    "memory": {"*": ["tally"]},
    "pooling": {"*": ["pool"]},
    "pooled memory": {"*": ["tally", "pool"]},
    "adaptive": {"*": ["tally", "wave"]},
    "adaptive and pooled": {"*": ["wave", "pool"]},
}


class TestExits:
    """An exit is a run that really stops there."""

    @pytest.mark.parametrize("family", ["transformer", "conformer", "rope"])
    @pytest.mark.parametrize("request_", REQUESTS)
    @pytest.mark.parametrize("hooks", HOOKS)
    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_equals_a_run_that_stops_there(
        self, stock, positions, batch, tally, pool, recording, family, request_, hooks, schedule
    ):
        attention = "RelPosMHAXL" if family == "conformer" else "regularMHA"
        schedule = SCHEDULES[schedule]
        made = {"tally": tally, "pool": pool, "wave": Waver}
        built = {name: [made[each]() for each in some] for name, some in HOOKS[hooks].items()}
        encoder = RecursiveEncoder(stock(schedule.n_layers, family, attention), schedule, built).eval()
        x = batch(4, 24)
        pad = torch.arange(24) >= torch.tensor([24, 13, 9, 20])[:, None]
        state = State(x, pad=pad, pos=positions(attention, x))
        depth = Depth.of(schedule, REQUESTS[request_])
        exits = [
            depth.stop(block, loops)
            for block, most in depth.schedule.loops.items()
            for loops in range(1, most + 1)
        ]
        sizes = [recording(layer) for layer in encoder.layers]
        with torch.no_grad():
            trace = encoder.run(state, depth, exits=exits)
            rows = {len(call[0] if family != "rope" else call) for calls in sizes for call in calls}
            assert (min(rows) < 4) == ("adaptive" in hooks or request_ == "rows")
            assert list(trace.exits) == list(dict.fromkeys(exits))
            for exit, seen in trace.exits.items():
                expected = encoder.run(state, exit).state
                assert seen.frames.tolist() == expected.frames.tolist(), exit
                assert seen.memory.keys() == expected.memory.keys(), exit
                torch.testing.assert_close(seen.x, expected.x, atol=1e-5, rtol=1e-5)
                for name, value in expected.memory.items():
                    torch.testing.assert_close(seen.memory[name], value, atol=1e-5, rtol=1e-5)
            whole = encoder.run(state, depth).state.x
        assert torch.equal(trace.state.x, whole), "exits change nothing"
        if "adaptive" not in hooks:
            sums = {round(float(each.x.abs().sum()), 3) for each in trace.exits.values()}
            assert len(sums) == len(exits) - len(depth.schedule.loops) + 1, "but for the run itself"

    def test_pooling_of_the_block_before_and_of_the_exits_own(self, stock, batch, tally, pool):
        """The old exits started again at the block's entry: with the frames and memory of that."""
        hooks = {"phonetic": [tally(), pool()], "linguistic": [tally(), pool()]}
        encoder = RecursiveEncoder(stock(5), bicycle(2, 3, 2, 3), hooks).eval()
        exit = Depth(encoder.schedule).stop("linguistic", 1)
        with torch.no_grad():
            seen = encoder.run(State(batch(4, 24)), exits=[exit]).exits[exit]
            head, first, *group, tail = encoder.layers
            x = entry = head(batch(4, 24))[0]
            total = torch.zeros_like(x)
            for _ in range(2):
                total = total + x
                x = first(x + 0.1 * total)[0]
            x = (x + total).unflatten(1, (12, 2)).sum(2)
            total = x
            x = x + 0.1 * total
            for layer in group:
                x = layer(x)[0]
            x = tail((x + total).unflatten(1, (6, 2)).sum(2))[0]
        assert entry.shape[1] == 4 * seen.x.shape[1]
        torch.testing.assert_close(seen.x, x)

    def test_an_exit_runs_what_follows_and_no_more(self, stock, batch, recording):
        encoder = RecursiveEncoder(stock(4), bicycle(2, 2, 3, 2)).eval()
        counts = [recording(layer) for layer in encoder.layers]
        depth = Depth(encoder.schedule)
        encoder.run(State(batch()), depth)
        assert [len(calls) for calls in counts] == [1, 3, 2, 1]
        encoder.run(State(batch()), depth, exits=[depth.stop("phonetic", 1), depth])
        assert [len(calls) for calls in counts] == [1 + 1, 3 + 3, 2 + 2 + 2, 1 + 1 + 1]
        encoder.run(State(batch()), depth, exits=[depth.stop("linguistic", 1)])
        assert [len(calls) for calls in counts] == [2 + 1, 6 + 3, 6 + 2, 3 + 1 + 1]

    def test_the_exit_at_full_depth_is_the_run(self, stock, batch):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1)).eval()
        depth = Depth(encoder.schedule)
        trace = encoder.run(State(batch()), exits=[depth])
        assert trace.exits[depth] is trace.state

    def test_refuses_what_the_run_does_not_pass(self, stock, batch):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1)).eval()
        with pytest.raises(ValueError, match="is not an exit of"):
            encoder.run(State(batch()), exits=[Depth.of(encoder.schedule, 4)])

    @pytest.mark.parametrize("n_coda", [0, 1])
    def test_what_an_exit_still_has_to_run(self, stock, batch, n_coda):
        """From the end of the recurrent block, the rest of the schedule gives the whole one's output."""
        schedule = latent(1, 3, 1, n_coda)
        encoder = RecursiveEncoder(stock(2 + n_coda), schedule).eval()
        (end,) = schedule.ends("recurrent", every=3)
        with torch.no_grad():
            whole = encoder.run(State(batch()), taps=[end])
            rest = encoder.run(whole.taps[end], Depth(Schedule(schedule.blocks[2:])))
        assert torch.equal(rest.state.x, whole.state.x)


@pytest.fixture
def compilations(monkeypatch):
    """The graphs that a compiler would be given; they run as they are."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch.compiler.reset()
    yield graphs
    torch.compiler.reset()


class TestCompiled:
    """``compile_layers``: the same numbers, and nothing is compiled twice."""

    @pytest.mark.parametrize("bank", ["rope", "transformer", "conformer"])
    @pytest.mark.parametrize("training", [True, False])
    def test_once_for_all_layers_loops_and_sizes(
        self, stock, batch, loss, gradients, compilations, bank, training
    ):
        layers = RopeEncoder(2, 16, 2, 32) if bank == "rope" else stock(2, bank, dropout=0.0)
        plain = RecursiveEncoder(copy.deepcopy(layers), cycle(2, 3)).train(training)
        ours = RecursiveEncoder(layers, cycle(2, 3)).train(training)
        ours.compile_layers()
        counts = []
        for rows, frames, loops in [(4, 9, 2), (4, 9, 8), (3, 7, 8), (5, 12, 1), (5, 12, 3)]:
            ours.backprop = replace(ours.backprop, recompute=frames == 12)
            pad = torch.arange(frames) >= torch.tensor([frames, 6, 4, 2, 3])[:rows, None]
            results = []
            for encoder in (plain, ours):
                encoder.zero_grad()
                x = batch(rows, frames).requires_grad_(training)
                with torch.set_grad_enabled(training):
                    y = encoder(x, src_key_padding_mask=pad, loops=loops)[0][~pad]
                if training:
                    loss(y).backward()
                results.append([y, x.grad, *gradients(encoder).values()])
            for one, other in zip(*results, strict=True):
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
            counts.append(len(compilations))
        assert ours.backprop == Backprop(recompute=True)
        # the hook that guards a Conformer's padding cuts its layer in pieces
        assert set(counts) == {5 if bank == "conformer" else 1}

    def test_checkpoints_interchange(self, stock):
        ours = RecursiveEncoder(stock(2), cycle(2, 3))
        ours.compile_layers()
        plain = RecursiveEncoder(stock(2), cycle(2, 3))
        assert list(ours.state_dict()) == list(plain.state_dict())
        plain.load_state_dict(ours.state_dict())
        ours.load_state_dict(plain.state_dict())


class TestErrors:
    """Each names what is wrong."""

    def test_another_number_of_layers(self, stock):
        with pytest.raises(ValueError, match="names 4 layers, the encoder has 3"):
            RecursiveEncoder(stock(3), latent(2, 2, 1, 1))

    def test_hooks_of_no_block(self, stock):
        with pytest.raises(ValueError, match="block 'recurent'"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1), {"recurent": [Hook()]})
        with pytest.raises(ValueError, match="block 'recurent'"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1)).add_hook("recurent", Hook())

    def test_a_layer_that_does_not_exist(self, stock, batch):
        with pytest.raises(ValueError, match=r"block 'x' names layer 7; the encoder's last is 2"):
            RecursiveEncoder(stock(3), standard(3)).run(
                State(batch()), Depth(Schedule((Block("x", (0, 7)),)))
            )

    @pytest.mark.parametrize("loops", [0, -1, {"recurrent": 0}, torch.tensor([1, 0, 2, 1])])
    def test_loops_below_one(self, stock, batch, loops):
        with pytest.raises(ValueError, match="block 'recurrent': loops must be at least 1"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1))(batch(), loops=loops)

    @pytest.mark.parametrize("loops", [{"prelude": 2}, {"middle": torch.tensor([1, 2, 3, 4])}])
    def test_loops_of_a_block_that_does_not_recur(self, stock, batch, loops):
        with pytest.raises(ValueError, match="that recurs; there is recurrent"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1))(batch(), loops=loops)

    def test_chunks_where_layers_know_none(self, stock, batch):
        with pytest.raises(ValueError, match="dynamic chunks"):
            RecursiveEncoder(stock(1), standard(1))(batch(), dynchunktrain_config=object())
