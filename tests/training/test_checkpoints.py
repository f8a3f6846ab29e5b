"""Checkpoints are whole or absent, damage is found, and the right ones are kept."""

import resource
import shutil

import numpy as np
import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.integrity import MANIFEST, plain


class Breakable:
    """Dies in the middle of being saved when told to."""

    dies = False

    def save(self, path):
        path.write_text("half")
        if self.dies:
            raise KeyboardInterrupt

    def load(self, path, end_of_epoch):
        assert path.read_text() == "half"


@pytest.fixture
def model():
    return torch.nn.Linear(2, 2)


@pytest.fixture
def checkpointer(tmp_path, model):
    return AtomicCheckpointer(tmp_path / "save", {"model": model})


def fill(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


def save_series(checkpointer, model, errors):
    """Save one checkpoint for each error; weight i, for the i-th."""
    saved = []
    for i, error in enumerate(errors):
        fill(model, i)
        saved.append(checkpointer.save_checkpoint(meta={"wer": error}))
    return saved


def test_the_stock_checkpointer_reads_ours_and_ours_reads_the_stock(tmp_path, model, checkpointer):
    fill(model, 3.0)
    checkpointer.save_checkpoint(meta={"wer": 5.0})
    fill(model, 0.0)
    stock = Checkpointer(checkpointer.checkpoints_dir, {"model": model})
    assert stock.recover_if_possible(min_key="wer") is not None
    assert model.weight.eq(3.0).all()

    stock = Checkpointer(tmp_path / "stock", {"model": model})
    stock.save_checkpoint()
    fill(model, 0.0)
    ours = AtomicCheckpointer(tmp_path / "stock", {"model": model})
    assert ours.recover_if_possible() is not None
    assert model.weight.eq(3.0).all()


def test_an_interrupted_save_leaves_nothing_to_list_and_is_cleared(checkpointer, model):
    good = checkpointer.save_checkpoint()
    part = Breakable()
    part.dies = True
    checkpointer.add_recoverable("part", part, Breakable.load, Breakable.save)
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint()
    folder = checkpointer.checkpoints_dir
    assert len(list(folder.iterdir())) == 2
    assert [c.path for c in checkpointer.list_checkpoints()] == [good.path]
    assert len(Checkpointer(folder).list_checkpoints()) == 1

    (folder / ".partial-CKPT+of+another+run").mkdir()
    part.dies = False
    newer = checkpointer.save_checkpoint()
    assert sorted(folder.iterdir()) == sorted([good.path, newer.path])


def test_an_interrupted_deletion_leaves_no_half_checkpoint(checkpointer, model, monkeypatch):
    _, new = save_series(checkpointer, model, [1.0, 2.0])

    def dies_half_way(path):
        (path / "model.ckpt").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("speechbrain_recursive.training.checkpoints.shutil.rmtree", dies_half_way)
    with pytest.raises(KeyboardInterrupt):
        checkpointer.delete_checkpoints(num_to_keep=1)
    assert len(list(checkpointer.checkpoints_dir.iterdir())) == 2
    assert [c.path for c in checkpointer.list_checkpoints()] == [new.path]
    assert len(Checkpointer(checkpointer.checkpoints_dir).list_checkpoints()) == 1


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["model.ckpt", "CKPT.yaml", MANIFEST])
def test_damage_is_named_once_and_the_one_before_is_used(checkpointer, model, caplog, damage, name):
    _, newest = save_series(checkpointer, model, [1.0, 2.0])
    damage(newest.path / name)
    for _ in range(2):
        fill(model, 9.0)
        chosen = checkpointer.recover_if_possible()
        assert chosen.meta["wer"] == 1.0
        assert model.weight.eq(0.0).all()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(newest.path) in warnings[0]
    assert "\n" not in warnings[0]


def test_a_file_cut_short_is_not_even_listed(checkpointer, model):
    older, newer = save_series(checkpointer, model, [1.0, 2.0])
    truncate(newer.path / "model.ckpt")
    assert [c.path for c in checkpointer.list_checkpoints()] == [older.path]
    checkpointer.delete_checkpoints(num_to_keep=1)
    assert older.path.exists()


def test_training_does_not_start_afresh_over_damaged_checkpoints(checkpointer, model):
    (only,) = save_series(checkpointer, model, [1.0])
    truncate(only.path / "model.ckpt")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        checkpointer.recover_if_possible()
    shutil.rmtree(only.path)
    assert AtomicCheckpointer(checkpointer.checkpoints_dir).recover_if_possible() is None


def test_a_disk_that_is_full_is_said_and_earlier_checkpoints_stay(checkpointer):
    """A limit on the size of files stands in for the full disk."""
    good = checkpointer.save_checkpoint()
    checkpointer.add_recoverable("large", torch.nn.Linear(300, 300))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UserError, match=r"save: a checkpoint cannot be saved \(.*make room"):
            checkpointer.save_checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(checkpointer.checkpoints_dir.iterdir()) == [good.path]
    assert checkpointer.save_checkpoint() is not None


def test_meta_becomes_plain_python(checkpointer):
    meta = {
        "wer": np.float64(7.5),
        "loss": torch.tensor(2.0),
        "flag": np.bool_(True),
        "curve": np.arange(3),
        "by_loops": {np.int64(2): torch.tensor(1.0)},
    }
    checkpointer.save_checkpoint(meta=meta)
    (found,) = Checkpointer(checkpointer.checkpoints_dir).list_checkpoints()
    loaded = {key: found.meta[key] for key in meta}
    assert loaded == {
        "wer": 7.5,
        "loss": 2.0,
        "flag": True,
        "curve": [0, 1, 2],
        "by_loops": {2: 1.0},
    }
    assert isinstance(loaded["flag"], bool)
    with pytest.raises(ValueError, match=r"meta\['where'\] holds a PosixPath"):
        checkpointer.save_checkpoint(meta={"where": checkpointer.checkpoints_dir})
    assert plain({"nested": [{"a": (np.float32(1),)}]}) == {"nested": [{"a": [1.0]}]}


def test_the_best_and_the_last_are_kept(checkpointer, model):
    for error in (3.0, 1.0, 2.0, float("nan"), 4.0):
        checkpointer.save_checkpoint(end_of_epoch=False)
        checkpointer.save_and_keep_best({"wer": error}, min_key="wer", keep=2)
    kept = sorted(c.meta["wer"] for c in checkpointer.list_checkpoints())
    assert kept == [1.0, 2.0, 4.0]
    assert checkpointer.find_checkpoint(min_key="wer").meta["wer"] == 1.0


def test_an_error_that_is_not_a_number_is_never_the_best(checkpointer, model):
    save_series(checkpointer, model, [float("nan"), 2.0, float("nan")])
    assert checkpointer.find_checkpoint(min_key="wer").meta["wer"] == 2.0
    newest = checkpointer.find_checkpoint().path
    checkpointer.delete_checkpoints(num_to_keep=1)
    assert [c.path for c in checkpointer.list_checkpoints()] == [newest]


def test_keeping_only_does_not_grow_a_shared_default(checkpointer, model):
    checkpointer.save_and_keep_only()
    checkpointer.save_and_keep_only()
    assert len(checkpointer.list_checkpoints()) == 1
    checkpointer.save_and_keep_only(keep_recent=False)
    assert len(checkpointer.list_checkpoints()) == 2


def test_a_checkpoint_may_have_a_name(checkpointer, model):
    saved = checkpointer.save_checkpoint(name="average")
    assert [c.path for c in checkpointer.list_checkpoints()] == [saved.path]
    assert saved.path.name == "CKPT+average"
    assert checkpointer.recover_if_possible().path == saved.path
