"""Gradients through loops: recomputed, truncated, with layer dropout."""

import copy

import pytest
import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.backprop import Backprop
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import Block, Schedule, bicycle, cycle, latent
from speechbrain_recursive.nn.state import State


@pytest.fixture
def train_step(batch, ragged, loss, gradients):
    """Loss, gradients and bytes that autograd keeps for one training step."""

    def step(encoder, **kwargs):
        kept = {}

        def pack(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(7)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = encoder(batch(), src_key_padding_mask=ragged, **kwargs)[0]
        loss(output).backward()
        return output, gradients(encoder), sum(kept.values())

    return step


def same(first, second):
    """Equal to the bit; where layer dropout took a layer, neither has a gradient."""
    return second is None if first is None else torch.equal(first, second)


class TestRecompute:
    """Recomputing trades time for memory, and nothing else."""

    @pytest.mark.parametrize("family", ["transformer", "conformer", "branchformer"])
    @pytest.mark.parametrize("loops", [None, torch.tensor([1, 4, 2, 3])])
    def test_equal_values_and_gradients(self, stock, tally, train_step, family, loops):
        bank = stock(3, family, dropout=0.2, layerdrop_prob=0.3)
        hooks = {"recurrent": [tally()]}
        kept, recomputed = (
            RecursiveEncoder(copy.deepcopy(bank), latent(1, 4, 1, 1), hooks, recompute).train()
            for recompute in (False, True)
        )
        output, expected, most = train_step(kept, loops=loops)
        again, seen, least = train_step(recomputed, loops=loops)
        assert torch.equal(output, again)
        for name, gradient in expected.items():
            assert same(gradient, seen[name]), name
        assert least < most / 4

    def test_returns_no_attention_unless_hidden_states_are_asked_for(self, stock, batch):
        assert RecursiveEncoder(stock(2), cycle(2, 2), recompute=True)(batch())[1] == []
        asking = RecursiveEncoder(stock(2, output_hidden_states=True), cycle(2, 2), recompute=True)
        assert [len(part) for part in asking(batch())] == [4, 4, 5]

    def test_taps_carry_gradients(self, stock, batch, loss):
        encoder = RecursiveEncoder(stock(2), cycle(2, 3), recompute=True).train()
        trace = encoder.run(State(batch()), taps=encoder.schedule.ends("recurrent"))
        loss(trace.taps[1].x).backward()
        assert encoder.layers[0].norm1.norm.weight.grad.abs().sum() > 0

    def test_exits_carry_the_same_gradients(self, stock, batch, tally, loss, gradients):
        bank, seen = stock(3), []
        for recompute in (False, True):
            encoder = RecursiveEncoder(
                copy.deepcopy(bank), latent(1, 4, 1, 1), {"recurrent": [tally()]}, recompute
            )
            exits = [Depth(encoder.schedule).stop("recurrent", loops) for loops in (1, 3)]
            trace = encoder.run(State(batch()), exits=exits)
            sum(loss(state.x) for state in trace.exits.values()).backward()
            seen.append(gradients(encoder.layers))
        for name, gradient in seen[0].items():
            torch.testing.assert_close(gradient, seen[1][name], msg=name)
            assert gradient.abs().sum() > 0, name


class TestGradLoops:
    """Back-propagation through the last loops alone."""

    @pytest.mark.parametrize("recompute", [False, True])
    @pytest.mark.parametrize("last", [1, 2, 4, 9])
    def test_equals_detaching_by_hand(self, stock, batch, inject, loss, gradients, last, recompute):
        hooks = {"recurrent": [inject()]}
        schedule = latent(1, 4, 1, 1)
        encoder = RecursiveEncoder(stock(3), schedule, hooks, recompute, grad_loops=last).train()
        output, _ = encoder(batch())
        loss(output).backward()
        seen = gradients(encoder)
        by_hand = stock(3)
        prelude, shared, coda = by_hand.layers
        z0, _ = prelude(batch())
        x = z0
        for loop in range(4):
            x, _ = shared(x if loop == 0 else x + z0)
            if loop + 1 == 4 - last:
                x = x.detach()
        expected = by_hand.norm(coda(x)[0])
        loss(expected).backward()
        assert torch.equal(output, expected)
        for name, gradient in gradients(by_hand).items():
            torch.testing.assert_close(seen[name], gradient, msg=name)
        assert seen["layers.0.norm1.norm.weight"].abs().sum() > 0

    def test_counts_the_loops_of_the_depth_that_runs(self, stock, batch, inject, loss):
        encoder = RecursiveEncoder(
            stock(3), latent(1, 2, 1, 1), {"recurrent": [inject()]}, grad_loops=2
        ).train()
        trace = encoder.run(State(batch()), Depth.of(encoder.schedule, 5), taps=range(1, 6))
        assert [trace.taps[index].x.requires_grad for index in range(1, 6)] == [False] * 3 + [True] * 2

    def test_refuses_to_cut_off_the_prelude(self, stock, inject):
        with pytest.raises(ValueError, match="below block 'recurrent'"):
            RecursiveEncoder(stock(3), latent(1, 4, 1, 1), grad_loops=1)
        bank, schedule = stock(4), bicycle(2, 2, 2, 2)
        with pytest.raises(ValueError, match="'linguistic'"):
            RecursiveEncoder(bank, schedule, {"phonetic": [inject()]}, grad_loops=1)
        RecursiveEncoder(bank, schedule, {"*": [inject()]}, grad_loops=1)

    @pytest.mark.parametrize("last", [1, 2, 3, 4, 5, 6, None])
    def test_every_exit_gets_a_gradient_or_is_refused(self, stock, batch, inject, loss, last):
        """CTC at loops 2, 4 and 6: the first is out of reach of fewer than five loops."""
        hooks = {"recurrent": [inject()]}
        encoder = RecursiveEncoder(stock(3), latent(1, 6, 1, 1), hooks, grad_loops=last).train()
        exits = [Depth(encoder.schedule).stop("recurrent", loops) for loops in (2, 4, 6)]
        if last in (1, 2, 3, 4):
            cut = "2" if last > 2 else "2, 4"
            with pytest.raises(UserError) as caught:
                encoder.run(State(batch()), exits=exits)
            assert str(caught.value) == (
                f"grad_loops: {last} of 6 loops leave the exits after loop {cut} without gradient in "
                "block 'recurrent'; all exits get one from grad_loops 5 on"
            )
            encoder.eval().run(State(batch()), exits=exits)
            return
        trace = encoder.run(State(batch()), exits=exits)
        for state in trace.exits.values():
            encoder.zero_grad()
            loss(state.x).backward(retain_graph=True)
            assert encoder.layers[1].norm1.norm.weight.grad.abs().sum() > 0
            assert encoder.layers[0].norm1.norm.weight.grad.abs().sum() > 0

    def test_refuses_zero_and_counts_by_row(self, stock, batch, inject):
        hooks = {"*": [inject()]}
        with pytest.raises(ValueError, match="at least 1"):
            RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks, grad_loops=0)
        encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks, grad_loops=1).train()
        with pytest.raises(ValueError, match="one loop count"):
            encoder(batch(), loops=torch.tensor([1, 2, 3, 4]))
        encoder.eval()(batch(), loops=torch.tensor([1, 2, 3, 4]))


class TestLayerDropout:
    """Draws are made once for a run and its exits, outside recomputation."""

    @pytest.fixture
    def draws(self, monkeypatch):
        """The sizes that are drawn."""
        sizes, rand = [], torch.rand

        def counting(*size, **kwargs):
            sizes.append(size)
            return rand(*size, **kwargs)

        monkeypatch.setattr(torch, "rand", counting)
        return sizes

    def exits_of(self, encoder):
        depth = Depth(encoder.schedule)
        return [depth.stop(b, n) for b, made in encoder.schedule.loops.items() for n in range(1, made)]

    @pytest.mark.parametrize("recompute", [False, True])
    def test_one_draw_for_a_run_and_its_exits(self, stock, batch, loss, inject, draws, recompute):
        bank = stock(5, layerdrop_prob=0.5, dropout=0.0)
        encoder = RecursiveEncoder(bank, bicycle(2, 3, 3, 2), {"*": [inject()]}, recompute).train()
        x = batch().requires_grad_()
        trace = encoder.run(State(x), exits=self.exits_of(encoder))
        loss(sum(state.x for state in trace.exits.values())).backward()
        assert draws == [(9,)]
        encoder.eval().run(State(batch()))
        assert draws == [(9,)], "nothing is dropped in evaluation"

    def test_exits_share_it(self, stock, batch):
        """An exit and the run that makes it drop the same steps behind the block."""
        bank = stock(5, layerdrop_prob=0.5, dropout=0.0)
        encoder = RecursiveEncoder(bank, bicycle(2, 3, 3, 2)).train()
        depth, entry, seen = Depth(encoder.schedule), batch(), set()
        for seed in range(8):
            torch.manual_seed(seed)
            kept = (torch.rand(len(depth)) > 0.5).tolist()
            torch.manual_seed(seed)
            with torch.no_grad():
                trace = encoder.run(State(entry), depth, exits=self.exits_of(encoder))
                for exit, state in trace.exits.items():
                    block, loops = depth.exit(exit)
                    x = entry
                    for step, keep in zip(depth.schedule, kept, strict=True):
                        if keep and not (step.block == block and step.loop >= loops):
                            x = encoder.layers[step.layer](x)[0]
                            seen.add(step)
                    torch.testing.assert_close(state.x, x, msg=f"{exit}, seed {seed}")
        assert len(seen) == len(depth)

    def test_a_layer_that_stands_twice_in_a_block_is_two_steps(self, stock, batch):
        encoder = RecursiveEncoder(
            stock(2, layerdrop_prob=0.5, dropout=0.0), Schedule((Block("both", (0, 1, 0)),))
        ).train()
        x = batch()
        for seed in range(8):
            torch.manual_seed(seed)
            kept = (torch.rand(3) > 0.5).tolist()
            torch.manual_seed(seed)
            attention = encoder.run(State(x), attention=range(3)).attention
            assert list(attention) == [index for index in range(3) if kept[index]]


def test_refuses_grad_loops_below_one():
    with pytest.raises(ValueError, match="grad_loops must be at least 1, got 0"):
        Backprop(grad_loops=0)
