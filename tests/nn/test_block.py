"""A block: each row makes its own number of loops, as if it were alone."""

import copy

import pytest
import torch

from speechbrain_recursive.nn.block import Rows
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import bicycle, latent
from speechbrain_recursive.nn.state import State


class TestRows:
    """Counts per row."""

    def test_equal_themselves_alone(self, stock, positions, kind, batch, ragged):
        family, attention = kind
        schedule = bicycle(2, 2, 2, 2)
        encoder = RecursiveEncoder(stock(4, family, attention), schedule).eval()
        x, counts = batch(), torch.tensor([2, 1, 4, 3])
        loops = {"phonetic": counts, "linguistic": 2}
        with torch.no_grad():
            everywhere, _ = encoder(
                x, src_key_padding_mask=ragged, pos_embs=positions(attention, x), loops=counts
            )
            one_block, _ = encoder(
                x, src_key_padding_mask=ragged, pos_embs=positions(attention, x), loops=loops
            )
            for row, count in enumerate(counts.tolist()):
                own = x[row : row + 1, ~ragged[row]]
                pos = positions(attention, own)
                alone, _ = encoder(own, pos_embs=pos, loops=count)
                frames = own.shape[1]
                torch.testing.assert_close(everywhere[row, :frames], alone[0])
                alone, _ = encoder(own, pos_embs=pos, loops={"phonetic": count, "linguistic": 2})
                torch.testing.assert_close(one_block[row, :frames], alone[0])

    def test_taps_keep_the_state_that_a_row_left_with(self, stock, batch, tally):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1), {"recurrent": [tally()]}).eval()
        with torch.no_grad():
            depth = Depth.of(encoder.schedule, [1, 3, 2, 1])
            trace = encoder.run(State(batch()), depth, taps=range(5), attention=range(5))
            whole = encoder.run(State(batch()), taps=range(5)).taps
        assert list(trace.taps) == [0, 1, 2, 3, 4]
        assert [len(trace.attention[index]) for index in range(5)] == [4, 4, 2, 1, 4]
        for index in (1, 2, 3):
            assert isinstance(trace.taps[index], State)
            assert trace.taps[index].step.index == index
            for row, left in enumerate([1, 3, 2, 1]):
                seen, expected = trace.taps[index], whole[min(index, left)]
                message = f"{row} at {index}"
                torch.testing.assert_close(seen.x[row], expected.x[row], msg=message)
                torch.testing.assert_close(
                    seen.memory["sum"][row], expected.memory["sum"][row], msg=message
                )
        assert "sum" not in trace.taps[0].memory
        assert "second" not in trace.taps[1].memory
        assert trace.taps[2].memory["second"][0].eq(0).all(), "a row that had left before"
        assert trace.taps[2].memory["second"][1].ne(0).all()

    def test_a_later_loop_does_not_change_a_tap(self, stock, batch, tally):
        encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), {"recurrent": [tally()]}).eval()
        with torch.no_grad():
            for request in (4, [4, 2, 3, 1]):
                deep = encoder.run(State(batch()), Depth.of(encoder.schedule, request), taps=(2,))
                short = encoder.run(State(batch()), deep_stop(encoder, request), taps=(2,))
                seen, expected = deep.taps[2], short.taps[2]
                torch.testing.assert_close(seen.x, expected.x)
                torch.testing.assert_close(seen.memory["sum"], expected.memory["sum"])

    def test_gradients_are_those_of_the_rows_alone(self, stock, batch, loss):
        counts = torch.tensor([1, 3, 2, 1])
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1))
        weight = encoder.layers[1].pos_ffn.ffn[0].weight
        (seen,) = torch.autograd.grad(loss(encoder(batch(), loops=counts)[0]), weight)
        alone = [
            loss(encoder(batch()[row : row + 1], loops=count)[0])
            for row, count in enumerate(counts.tolist())
        ]
        (expected,) = torch.autograd.grad(sum(alone), weight)
        torch.testing.assert_close(seen, expected)

    @pytest.mark.parametrize("counts", [[1, 2, 3], [1, 2, 3, 4, 5]])
    def test_refuses_counts_of_another_batch(self, stock, batch, counts):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1)).eval()
        with pytest.raises(ValueError, match=f"{len(counts)} loop counts for a batch of 4"):
            encoder(batch(), loops=counts)

    def test_those_that_wait_are_not_those_that_loop(self):
        rows = Rows(State(torch.arange(3.0).view(3, 1, 1)), (1, 3, 2))
        rows.leave([], loop=0)
        assert rows.live.x.flatten().tolist() == [1.0, 2.0]
        rows.live = State(rows.live.x + 10)
        assert rows.all().x.flatten().tolist() == [0.0, 11.0, 12.0]
        rows.leave([], loop=1)
        assert rows.live.x.flatten().tolist() == [11.0]
        rows.leave([], loop=2)
        assert rows.live is None
        assert rows.all().x.flatten().tolist() == [0.0, 11.0, 12.0]


def deep_stop(encoder, request):
    return Depth.of(encoder.schedule, request).stop("recurrent", 2)


class TestAdaptive:
    """Rows that a hook calls done leave the block and rejoin behind it."""

    @pytest.mark.parametrize("ends", [[1, 4, 2, 3], [2, 2, 2, 2], [3, 1, 1, 3], [9, 1, 9, 9]])
    def test_rows_equal_fixed_counts(self, stock, batch, ragged, tally, ends):
        bank, schedule = stock(3, "conformer"), latent(1, 4, 1, 1)
        hooks = {"recurrent": [tally(torch.tensor(ends))]}
        adaptive = RecursiveEncoder(copy.deepcopy(bank), schedule, hooks).eval()
        fixed = RecursiveEncoder(bank, schedule, {"recurrent": [tally()]}).eval()
        with torch.no_grad():
            trace = adaptive.run(State(batch(), pad=ragged), taps=range(6))
            assert list(trace.taps) == list(range(6))
            for row, end in enumerate(ends):
                own = State(batch()[row : row + 1, ~ragged[row]])
                alone = fixed.run(own, Depth.of(schedule, min(end, 4)), taps=range(6))
                frames = own.x.shape[1]
                torch.testing.assert_close(trace.state.x[row, :frames], alone.state.x[0])
                torch.testing.assert_close(
                    trace.state.memory["sum"][row, :frames], alone.state.memory["sum"][0]
                )
                for index in range(1, 5):
                    seen, expected = trace.taps[index], alone.taps[min(index, end)]
                    torch.testing.assert_close(seen.x[row, :frames], expected.x[0])
                    torch.testing.assert_close(
                        seen.memory["sum"][row, :frames], expected.memory["sum"][0]
                    )

    def test_no_layer_runs_when_all_rows_are_done(self, stock, batch, tally):
        hooks = {"recurrent": [tally(torch.tensor([2, 1, 2, 1]))]}
        encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks).eval()
        calls = []
        encoder.layers[1].register_forward_hook(lambda m, a, output: calls.append(len(output[0])))
        _, attended = encoder(batch())
        assert calls == [4, 2]
        assert len(attended) == 4

    def test_counts_and_a_hook_end_rows_together(self, stock, batch, tally):
        ends, counts = torch.tensor([1, 4, 2, 3]), torch.tensor([3, 2, 3, 1])
        bank, schedule = stock(3), latent(1, 4, 1, 1)
        both = RecursiveEncoder(copy.deepcopy(bank), schedule, {"recurrent": [tally(ends)]}).eval()
        rows = RecursiveEncoder(bank, schedule, {"recurrent": [tally()]}).eval()
        with torch.no_grad():
            seen, _ = both(batch(), loops=counts)
            expected, _ = rows(batch(), loops=torch.minimum(ends, counts))
        torch.testing.assert_close(seen, expected)
