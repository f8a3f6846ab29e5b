"""Checkpoints resume under the settings and on the corpus that they were trained with, or not at all."""

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.merging import parse
from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
from speechbrain_recursive.training.settings import Settings

YAML = """
output_folder: results
seed: 1
corpus: !new:some.Corpus {train_splits: [train], test_splits: [a, b]}
loops: 3
schedule: !apply:some.latent {loops: !ref <loops>}
beam: 5
width: 4
decoders: {joint: !new:some.Beam {beam: !ref <beam> * <width>}}
width_of_all: !ref <width>
number_of_epochs: 10
lr: 0.10
"""
CORPUS = {"train": {"utterances": 4000, "hours": 2.5, "sha256": "a"}}


@pytest.fixture
def resume(tmp_path):
    """``resume(text, corpus=None)``: load what was trained with YAML and CORPUS."""

    def run(text, corpus=None):
        settings = Settings(parse(text, "a.yaml"))
        settings.corpus = corpus
        AtomicCheckpointer(tmp_path, {"settings": settings}).recover_if_possible()

    trained = Settings(parse(YAML, "a.yaml"))
    trained.corpus = CORPUS
    AtomicCheckpointer(tmp_path, {"settings": trained}).save_checkpoint()
    return run


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed: 1", "seed: 2", "seed was 1, is 2;"),
        ("lr: 0.10", "lr: 0.2", "lr was 0.1, is 0.2;"),
        ("loops: 3", "loops: 4", "other settings: loops was 3, is 4; set this back"),
        ("[train]", "[train, more]", "corpus[train_splits][1] was absent, is more;"),
        ("some.latent", "some.cycle", "schedule was !apply:some.latent, is !apply:some.cycle;"),
        ("number_of_epochs: 10", "number_of_epochs: 9", "number_of_epochs was 10, is 9;"),
        ("width: 4", "width: 8", "width was 4, is 8;"),
        ("lr: 0.10", "", "lr was 0.1, is absent;"),
        (
            "lr: 0.10",
            "lr: 0.1\nhooks: {film: !new:some.FiLM }",
            "hooks[film] was absent, is !new:some.FiLM;",
        ),
        ("lr: 0.10", "lr: 0.1\nflag: True", "flag was absent, is true;"),
    ],
)
def test_other_settings_are_named(resume, old, new, said):
    with pytest.raises(UserError) as caught:
        resume(YAML.replace(old, new))
    assert said in str(caught.value)
    assert "--output_folder" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("output_folder: results", "output_folder: moved"),
        ("[a, b]", "[a]"),
        ("beam: 5", "beam: 9"),
        ("some.Beam", "some.OtherBeam"),
        ("number_of_epochs: 10", "number_of_epochs: 11"),
        ("lr: 0.10", "lr: 0.1"),
    ],
)
def test_what_weights_do_not_depend_on_may_change(resume, old, new):
    resume(YAML.replace(old, new))


def test_run_options_that_training_depends_on_are_settings(tmp_path):
    tree = parse("seed: 1", "a.yaml")
    AtomicCheckpointer(tmp_path, {"settings": Settings(tree, {"device": "cpu"})}).save_checkpoint()
    AtomicCheckpointer(tmp_path, {"settings": Settings(tree)}).recover_if_possible()
    other = Settings(tree, {"remove_vector_weight_decay": True})
    with pytest.raises(UserError, match="remove_vector_weight_decay was absent, is true;"):
        AtomicCheckpointer(tmp_path, {"settings": other}).recover_if_possible()


def test_long_lists_of_differences_are_cut(resume):
    with pytest.raises(UserError, match=r" k7 was absent, is 7 and 12 more; "):
        resume(YAML + "".join(f"k{i}: {i}\n" for i in range(20)))


def test_another_corpus_is_named(resume):
    resume(YAML, CORPUS)
    for changed, said in [
        (
            {"utterances": 20, "hours": 0.01},
            r"train had 4,000 utterances \(2.50 h\), has 20 .* \(0.01 h\);",
        ),
        ({"sha256": "b"}, r"has 4,000 utterances \(2.50 h\) of other audio or text;"),
    ]:
        with pytest.raises(UserError, match=said):
            resume(YAML, {"train": CORPUS["train"] | changed})
    with pytest.raises(UserError, match="dev had absent, has 4,000"):
        resume(YAML, CORPUS | {"dev": CORPUS["train"]})
