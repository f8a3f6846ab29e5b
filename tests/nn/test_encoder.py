"""The recursive encoder against the stock one, against loops by hand, and at its hooks."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from speechbrain_recursive.nn.adapters import adapter_for
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.schedule import Block, Schedule, bicycle, cycle, latent, standard
from speechbrain_recursive.nn.state import Hook, State

CASES = [
    (family, attention)
    for family in ("transformer", "conformer", "branchformer")
    for attention in ("regularMHA", "RoPEMHA", "RelPosMHAXL")
    if (family, attention) != ("branchformer", "RoPEMHA")  # the stock layer raises
]
RAGGED = torch.arange(9) >= torch.tensor([9, 6, 4, 1])[:, None]


def batch(rows=4, frames=9):
    torch.manual_seed(3)
    return torch.randn(rows, frames, 16)


def same(first, second):
    """Equal to the bit, through lists and attention that a layer does not give."""
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return second is None if first is None else torch.equal(first, second)


def loss(output):
    """Not a plain sum of squares, which the final norm would hold constant."""
    return (output * torch.linspace(-1, 2, 16)).sum()


def gradients(module):
    return {name: parameter.grad for name, parameter in module.named_parameters()}


class TestStandard:
    """Under ``standard(n)`` nothing but the class has changed."""

    @pytest.mark.parametrize(("family", "attention"), CASES)
    def test_eval(self, stock, positions, family, attention):
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

    @pytest.mark.parametrize(("family", "attention"), CASES)
    def test_training_step(self, stock, positions, family, attention):
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

    def test_padded_transformer(self, stock):
        theirs = stock(3)
        ours = RecursiveEncoder(copy.deepcopy(theirs), standard(3)).eval()
        arguments = {"src_mask": torch.ones(9, 9).triu(1).bool(), "src_key_padding_mask": RAGGED}
        with torch.no_grad():
            assert same(theirs(batch(), **arguments), ours(batch(), **arguments))


class TestLoops:
    """Recursion is what a loop over the stock layers computes."""

    @pytest.mark.parametrize(("family", "attention"), CASES)
    def test_cycle_is_passes_and_one_norm(self, stock, positions, family, attention):
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
    def test_latent_is_a_loop_by_hand(self, stock, loops):
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

    def test_another_schedule_over_the_same_layers(self, stock):
        encoder = RecursiveEncoder(stock(4), standard(4)).eval()
        state = State(batch())
        with torch.no_grad():
            seen = encoder.run(state, latent(2, 2, 1, 1), loops=3).state.x
            expected = RecursiveEncoder(stock(4), latent(2, 3, 1, 1)).eval().run(state).state.x
        assert torch.equal(seen, expected)

    def test_gradient_of_a_shared_layer_is_the_sum_over_its_uses(self, stock):
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

    def test_bf16_autocast(self, stock):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            x = torch.nn.Linear(16, 16)(batch())
            output, _ = encoder(x, loops=torch.tensor([1, 3, 2, 1]), src_key_padding_mask=RAGGED)
        loss(output.float()).backward()
        assert all(g is not None and g.isfinite().all() for g in gradients(encoder).values())


class TestRows:
    """Each row makes its own number of loops, as if it were alone."""

    @pytest.mark.parametrize(("family", "attention"), CASES)
    def test_equal_themselves_alone(self, stock, positions, family, attention):
        schedule = bicycle(2, 2, 2, 2)
        encoder = RecursiveEncoder(stock(4, family, attention), schedule).eval()
        x, counts = batch(), torch.tensor([2, 1, 4, 3])
        loops = {"phonetic": counts, "linguistic": 2}
        with torch.no_grad():
            everywhere, _ = encoder(
                x, src_key_padding_mask=RAGGED, pos_embs=positions(attention, x), loops=counts
            )
            one_block, _ = encoder(
                x, src_key_padding_mask=RAGGED, pos_embs=positions(attention, x), loops=loops
            )
            for row, count in enumerate(counts.tolist()):
                own = x[row : row + 1, ~RAGGED[row]]
                pos = positions(attention, own)
                alone, _ = encoder(own, pos_embs=pos, loops=count)
                frames = own.shape[1]
                torch.testing.assert_close(everywhere[row, :frames], alone[0])
                alone, _ = encoder(own, pos_embs=pos, loops={"phonetic": count, "linguistic": 2})
                torch.testing.assert_close(one_block[row, :frames], alone[0])

    def test_taps_keep_the_state_that_a_row_left_with(self, stock):
        encoder = RecursiveEncoder(stock(3), latent(1, 3, 1, 1)).eval()
        with torch.no_grad():
            loops = torch.tensor([1, 3, 2, 1])
            trace = encoder.run(State(batch()), loops=loops, taps=range(5), attention=range(5))
            whole = encoder.run(State(batch()), loops=3, taps=range(5)).taps
        assert list(trace.taps) == [0, 1, 2, 3, 4]
        assert [len(trace.attention[index]) for index in range(5)] == [4, 4, 2, 1, 4]
        for row, left in enumerate([1, 3, 2, 1]):
            for index in (1, 2, 3):
                torch.testing.assert_close(
                    trace.taps[index][row], whole[min(index, left)][row], msg=f"{row} at {index}"
                )

    def test_gradients_are_those_of_the_rows_alone(self, stock):
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


class Tally(Hook):
    """Writes and reads memory in every loop; may end rows at loops of their own."""

    def __init__(self, ends=None):
        super().__init__()
        self.ends = ends

    def before_loop(self, state):
        memory = dict(state.memory)
        if state.step.loop == 0:
            memory = {"sum": torch.zeros_like(state.x)}
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


class TestAdaptive:
    """Rows that a hook calls done leave the block and rejoin behind it."""

    @pytest.mark.parametrize("ends", [[1, 4, 2, 3], [2, 2, 2, 2], [3, 1, 1, 3], [9, 1, 9, 9]])
    def test_rows_equal_fixed_counts(self, stock, ends):
        bank, schedule = stock(3, "conformer"), latent(1, 4, 1, 1)
        hooks = {"recurrent": [Tally(torch.tensor(ends))]}
        adaptive = RecursiveEncoder(copy.deepcopy(bank), schedule, hooks).eval()
        fixed = RecursiveEncoder(bank, schedule, {"recurrent": [Tally()]}).eval()
        with torch.no_grad():
            trace = adaptive.run(State(batch(), pad=RAGGED), taps=range(6))
            assert list(trace.taps) == list(range(6))
            for row, end in enumerate(ends):
                own = State(batch()[row : row + 1, ~RAGGED[row]])
                alone = fixed.run(own, loops=min(end, 4), taps=range(6))
                frames = own.x.shape[1]
                torch.testing.assert_close(trace.state.x[row, :frames], alone.state.x[0])
                torch.testing.assert_close(
                    trace.state.memory["sum"][row, :frames], alone.state.memory["sum"][0]
                )
                for index in range(1, 5):
                    expected = alone.taps[min(index, end)][0]
                    torch.testing.assert_close(trace.taps[index][row, :frames], expected)

    def test_no_layer_runs_when_all_rows_are_done(self, stock):
        hooks = {"recurrent": [Tally(torch.tensor([2, 1, 2, 1]))]}
        encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks).eval()
        calls = []
        encoder.layers[1].register_forward_hook(lambda m, a, output: calls.append(len(output[0])))
        _, attended = encoder(batch())
        assert calls == [4, 2]
        assert len(attended) == 4

    def test_counts_and_a_hook_end_rows_together(self, stock):
        ends, counts = torch.tensor([1, 4, 2, 3]), torch.tensor([3, 2, 3, 1])
        bank, schedule = stock(3), latent(1, 4, 1, 1)
        both = RecursiveEncoder(copy.deepcopy(bank), schedule, {"recurrent": [Tally(ends)]}).eval()
        rows = RecursiveEncoder(bank, schedule, {"recurrent": [Tally()]}).eval()
        with torch.no_grad():
            seen, _ = both(batch(), loops=counts)
            expected, _ = rows(batch(), loops=torch.minimum(ends, counts))
        torch.testing.assert_close(seen, expected)


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
        self.diary.append((self.name, "leave", state.step.block))
        return replace(state, x=state.x + 10)


class TestHooks:
    """When each of the four hooks acts."""

    def test_order(self, stock):
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

    def test_star_acts_on_every_block_before_its_own_hooks(self, stock):
        diary = []
        hooks = {"coda": [Diary("coda", diary)], "*": [Diary("all", diary)]}
        RecursiveEncoder(stock(3), latent(1, 2, 1, 1), hooks).eval()(batch())
        entries = [entry for entry in diary if entry[1] == "before"]
        assert [entry[::2] for entry in entries] == [
            *[("all", "prelude"), ("all", "recurrent"), ("all", "recurrent")],
            *[("all", "coda"), ("coda", "coda")],
        ]

    def test_what_they_return_is_what_runs_and_taps_are_taken_first(self, stock):
        encoder = RecursiveEncoder(stock(2), latent(1, 2, 0, 1), {"recurrent": [Diary("a", [])]})
        shared, coda = encoder.eval().layers
        with torch.no_grad():
            trace = encoder.run(State(batch()), taps=(0, 1, 2))
            first = -shared(2 * (batch() + 1))[0]
            second = -shared(2 * (first + 1))[0]
            last = coda(second + 10)[0]
        assert torch.equal(trace.taps[0], first)
        assert torch.equal(trace.taps[1], second)
        assert torch.equal(trace.taps[2], last)
        assert torch.equal(trace.state.x, last)

    def test_their_parameters_are_the_encoders(self, stock):
        hook = Hook()
        hook.gain = torch.nn.Parameter(torch.zeros(1))
        encoder = RecursiveEncoder(stock(1), cycle(1, 2), {"recurrent": [hook]})
        assert "hooks.recurrent.0.gain" in encoder.state_dict()


def saved_bytes(encoder, **kwargs):
    """Loss, gradients and bytes that autograd keeps for one training step."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = encoder(batch(), src_key_padding_mask=RAGGED, **kwargs)[0]
    loss(output).backward()
    return output, gradients(encoder), sum(kept.values())


class TestRecompute:
    """Recomputing trades time for memory, and nothing else."""

    @pytest.mark.parametrize("family", ["transformer", "conformer", "branchformer"])
    @pytest.mark.parametrize("loops", [None, torch.tensor([1, 4, 2, 3])])
    def test_equal_values_and_gradients(self, stock, family, loops):
        bank = stock(3, family, dropout=0.2, layerdrop_prob=0.3)
        hooks = {"recurrent": [Tally()]}
        kept, recomputed = (
            RecursiveEncoder(copy.deepcopy(bank), latent(1, 4, 1, 1), hooks, recompute).train()
            for recompute in (False, True)
        )
        output, expected, most = saved_bytes(kept, loops=loops)
        again, seen, least = saved_bytes(recomputed, loops=loops)
        assert torch.equal(output, again)
        for name, gradient in expected.items():
            assert same(gradient, seen[name]), name
        assert least < most / 4

    def test_returns_no_attention_unless_hidden_states_are_asked_for(self, stock):
        assert RecursiveEncoder(stock(2), cycle(2, 2), recompute=True)(batch())[1] == []
        asking = RecursiveEncoder(stock(2, output_hidden_states=True), cycle(2, 2), recompute=True)
        assert [len(part) for part in asking(batch())] == [4, 4, 5]

    def test_taps_carry_gradients(self, stock):
        encoder = RecursiveEncoder(stock(2), cycle(2, 3), recompute=True).train()
        trace = encoder.run(State(batch()), taps=encoder.schedule.ends("recurrent"))
        loss(trace.taps[1]).backward()
        assert encoder.layers[0].norm1.norm.weight.grad.abs().sum() > 0


class Inject(Hook):
    """Adds the state at the block's entry to what every loop begins with."""

    injects = True

    def before_loop(self, state):
        if state.step.loop == 0:
            return replace(state, memory={"z0": state.x})
        return replace(state, x=state.x + state.memory["z0"])


class TestGradLoops:
    """Back-propagation through the last loops alone."""

    @pytest.mark.parametrize("recompute", [False, True])
    @pytest.mark.parametrize("last", [1, 2, 4, 9])
    def test_equals_detaching_by_hand(self, stock, last, recompute):
        hooks = {"recurrent": [Inject()]}
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

    def test_refuses_to_cut_off_the_prelude(self, stock):
        with pytest.raises(ValueError, match="below block 'recurrent'"):
            RecursiveEncoder(stock(3), latent(1, 4, 1, 1), grad_loops=1)
        bank, schedule = stock(4), bicycle(2, 2, 2, 2)
        with pytest.raises(ValueError, match="'linguistic'"):
            RecursiveEncoder(bank, schedule, {"phonetic": [Inject()]}, grad_loops=1)
        RecursiveEncoder(bank, schedule, {"*": [Inject()]}, grad_loops=1)

    def test_refuses_zero_and_counts_by_row(self, stock):
        hooks = {"*": [Inject()]}
        with pytest.raises(ValueError, match="at least 1"):
            RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks, grad_loops=0)
        encoder = RecursiveEncoder(stock(3), latent(1, 4, 1, 1), hooks, grad_loops=1).train()
        with pytest.raises(ValueError, match="one loop count"):
            encoder(batch(), loops=torch.tensor([1, 2, 3, 4]))


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
    def test_once_for_all_layers_loops_and_sizes(self, stock, compilations, bank, training):
        layers = RopeEncoder(2, 16, 2, 32) if bank == "rope" else stock(2, bank, dropout=0.0)
        plain = RecursiveEncoder(copy.deepcopy(layers), cycle(2, 3)).train(training)
        ours = RecursiveEncoder(layers, cycle(2, 3)).train(training)
        ours.compile_layers()
        counts = []
        for rows, frames, loops in [(4, 9, 2), (4, 9, 8), (3, 7, 8), (5, 12, 1), (5, 12, 3)]:
            ours.recompute = frames == 12
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
        # the hook that guards a Conformer's padding cuts its layer in pieces
        assert set(counts) == {5 if bank == "conformer" else 1}

    def test_checkpoints_interchange(self, stock):
        ours = RecursiveEncoder(stock(2), cycle(2, 3))
        ours.compile_layers()
        plain = RecursiveEncoder(stock(2), cycle(2, 3))
        assert list(ours.state_dict()) == list(plain.state_dict())
        plain.load_state_dict(ours.state_dict())
        ours.load_state_dict(plain.state_dict())

    def test_refuses_what_outdates_each_compilation(self, stock):
        with pytest.raises(ValueError, match="compile_layers: SpeechBrain's RoPEMHA"):
            RecursiveEncoder(stock(2, attention="RoPEMHA"), cycle(2, 3)).compile_layers()


class TestErrors:
    """Each names what is wrong."""

    def test_another_number_of_layers(self, stock):
        with pytest.raises(ValueError, match="names 4 layers, the encoder has 3"):
            RecursiveEncoder(stock(3), latent(2, 2, 1, 1))

    def test_hooks_of_no_block(self, stock):
        with pytest.raises(ValueError, match="block 'recurent'"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1), {"recurent": [Hook()]})

    def test_a_layer_that_does_not_exist(self, stock):
        with pytest.raises(ValueError, match=r"block 'x' names layer 7; the encoder's last is 2"):
            RecursiveEncoder(stock(3), standard(3)).run(State(batch()), Schedule((Block("x", (0, 7)),)))

    @pytest.mark.parametrize("loops", [0, -1, {"recurrent": 0}, torch.tensor([1, 0, 2, 1])])
    def test_loops_below_one(self, stock, loops):
        with pytest.raises(ValueError, match="block 'recurrent': loops must be at least 1"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1))(batch(), loops=loops)

    @pytest.mark.parametrize("loops", [{"prelude": 2}, {"middle": torch.tensor([1, 2, 3, 4])}])
    def test_loops_of_a_block_that_does_not_recur(self, stock, loops):
        with pytest.raises(ValueError, match="that recurs; there is recurrent"):
            RecursiveEncoder(stock(3), latent(1, 2, 1, 1))(batch(), loops=loops)

    def test_chunks_where_layers_know_none(self, stock):
        with pytest.raises(ValueError, match="dynamic chunks"):
            RecursiveEncoder(stock(1), standard(1))(batch(), dynchunktrain_config=object())

    def test_an_unknown_family(self):
        with pytest.raises(TypeError, match="Linear"):
            adapter_for(torch.nn.Linear(1, 1))


def test_what_an_exit_still_has_to_run(stock):
    """From the end of the recurrent block, the rest of the schedule gives the whole one's output."""
    for n_coda in (0, 1):
        schedule = latent(1, 3, 1, n_coda)
        encoder = RecursiveEncoder(stock(2 + n_coda), schedule).eval()
        (end,) = schedule.ends("recurrent", every=3)
        with torch.no_grad():
            whole = encoder.run(State(batch()), taps=[end])
            rest = encoder.run(State(whole.taps[end]), schedule.after("recurrent"))
        assert torch.equal(rest.state.x, whole.state.x)
