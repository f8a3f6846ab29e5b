"""``analyze cad`` and ``analyze pca`` on results folders, from the command line."""

import json

import pytest

from speechbrain_recursive.__main__ import main


@pytest.fixture(scope="module")
def teacher(mini, tmp_path_factory):
    """Eight layers without loops."""
    folder = tmp_path_factory.mktemp("teacher")
    return mini(folder, "n_recurrent", 6, "loops", 1, "eval_loops", "[1]")


@pytest.fixture
def analyze(tmp_path, capsys):
    """``analyze(*words)``: exit code, what was printed, the error."""

    def run(*words):
        words = [*map(str, words), "--utterances", "2", "--output_folder", str(tmp_path)]
        code = main(["analyze", *words])
        return code, *capsys.readouterr()

    return run


def test_cad_side_by_side(analyze, teacher, trained, tmp_path):
    code, printed, _ = analyze("cad", trained, teacher)
    assert code == 0
    facts = json.loads((tmp_path / "cad.json").read_text())
    looped, plain = facts["models"].values()
    assert looped["layers"] == ["0", "1/0", "2/0", "1/1", "2/1", "1/2", "2/2", "3"]
    assert plain["layers"] == [str(i) for i in range(8)]
    for model in (looped, plain):
        assert [len(step) for step in model["cad"]] == [2] * 8
        assert all(0 < value < 1 for step in model["cad"] for value in step)
    assert facts["audio"] == str(trained / "manifests/dev-clean.csv")
    grouping = facts["grouping"]
    assert grouping["model"] == list(facts["models"])[1]
    assert grouping["n_phonetic"] in (3, 4)
    assert grouping["keys"] == {"n_teacher": 8, "n_phonetic": grouping["n_phonetic"], "n_layers": 4}
    assert f"n_phonetic: {grouping['n_phonetic']}\nn_layers: 4\n" in printed
    assert printed.strip() in (tmp_path / "cad.md").read_text()
    assert (tmp_path / "cad.png").read_bytes()[1:4] == b"PNG"


def test_cad_of_models_that_are_not_grouped(analyze, trained, tmp_path):
    code, printed, _ = analyze("cad", trained)
    assert code == 0
    assert "Groups of" not in printed
    assert "grouping" not in json.loads((tmp_path / "cad.json").read_text())
    code, printed, _ = analyze("cad", trained, "--loops", "1")
    assert code == 0
    assert "4 layers are too few for BiCycle's groups" in printed


def test_the_user_overrules(analyze, teacher, tmp_path):
    code, printed, _ = analyze("cad", teacher, "--n_phonetic", "3", "--student_layers", "4")
    assert code == 0
    assert "phonetic 0-2, obscure 3, linguistic 4-7" in printed
    assert (
        "starts from layers 0, 2 and 5, 7. Its schedule is bicycle(n_phonetic=2, n_linguistic=2"
        in printed
    )


def test_pca_side_by_side(analyze, teacher, trained, tmp_path):
    code, printed, _ = analyze("pca", teacher, trained)
    assert code == 0
    facts = json.loads((tmp_path / "pca.json").read_text())
    for model in facts["models"].values():
        assert [len(point) for point in model["means"]] == [3] * 8
        assert 0 < sum(model["explained"]) <= 1 + 1e-9
    assert printed.count("Explained variance: ") == 2
    assert printed.strip() in (tmp_path / "pca.md").read_text()
    assert (tmp_path / "pca.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cad", "--n_phonetic", "7"], "--n_phonetic 7: 8 layers leave no phonetic or no linguistic"),
        (["cad", "--n_phonetic", "2"], "a student of 4 layers would have 1 phonetic and 3 linguistic"),
        (["cad", "--audio", "gone"], "no audio at gone"),
        (["pca", "--loops", "0"], "loops must be at least 1"),
        (["pca", "--device", "nothing"], "--device nothing"),
    ],
)
def test_mistakes_are_one_line(analyze, teacher, words, said):
    code, _, error = analyze(words[0], teacher, *words[1:])
    assert code == 1
    assert said in error
    assert error.count("\n") == 1
