"""The user's own recordings: what manifests say, and mistakes by file and line."""

import json
import re

import numpy as np
import pytest
import soundfile

from speechbrain_recursive.data.dataset import make_dataset
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.own_data import OwnData
from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.data.tokenizers import TokenizerSpec, load_tokenizer
from speechbrain_recursive.errors import UserError

HEAD = "ID,duration,wav,wrd"
GOOD = ["a,1.0,audio/a.wav,ONE TWO", "b,2.0,$data_root/audio/b.flac,TWO"]
LETTERS = TokenizerSpec(characters="ENOTW")


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """A folder of several formats: each file lasts another number of seconds."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for name, seconds, rate in (("a.wav", 1, 16000), ("b.flac", 2, 8000), ("c.ogg", 3, 16000)):
        samples = 0.1 * rng.standard_normal((seconds * rate, 2 if name == "b.flac" else 1))
        soundfile.write(folder / name, samples, rate)
    return folder


@pytest.fixture
def data(audio, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/audio").symlink_to(audio)
    return tmp_path / "data"


@pytest.fixture
def prepare(data, tmp_path):
    """``prepare(lines, **options)``: the rows of the training manifest; dev and test are good."""

    def run(lines, name="train.csv", head=HEAD, **options):
        head = [head] if name.endswith(".csv") else []
        (data / name).write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
        for split in ("dev", "test"):
            (data / f"{split}.csv").write_text("\n".join([HEAD, *GOOD]) + "\n")
        corpus = OwnData(train_manifest=name, **options)
        return read_manifest(corpus.prepare(data, tmp_path / "save")["train"])

    return run


def as_json(**fields):
    return json.dumps(fields, ensure_ascii=False)


def test_a_csv_file_of_speechbrains(prepare, data):
    rows = prepare([*GOOD, 'c,3,audio/c.ogg,"ONE, TWO"'])
    assert [row["wrd"] for row in rows.values()] == ["ONE TWO", "TWO", "ONE, TWO"]
    names = ("a.wav", "b.flac", "c.ogg")
    assert [row["wav"] for row in rows.values()] == [str(data / "audio" / name) for name in names]
    assert [row["duration"] for row in rows.values()] == pytest.approx([1, 2, 3], abs=0.01)
    assert all(row["start"] is row["stop"] is row["channel"] is None for row in rows.values())


def test_json_lines_of_nemos(prepare, data):
    lines = [
        as_json(audio_filepath="audio/a.wav", duration=1.0, text="one two"),
        as_json(audio_filepath=str(data / "audio/c.ogg"), duration=0.5, text="one", offset=0.25),
        as_json(audio_filepath="audio/c.ogg", duration=1.258, text="two", offset=1.75, speaker=7),
    ]
    rows = list(prepare(lines, "train.json", normalize="upper").values())
    assert len(rows) == 3
    by_text = {row["wrd"]: row for row in rows}
    assert (by_text["ONE"]["start"], by_text["ONE"]["stop"]) == (0.25, 0.75)
    assert (by_text["TWO"]["start"], by_text["TWO"]["stop"]) == (1.75, 3.0)  # rounded beyond the end
    assert by_text["TWO"]["spk_id"] == "7"
    assert by_text["ONE TWO"]["start"] is None


def test_segments_and_channels_are_cut(prepare, data, tmp_path):
    head = "ID,wav,wrd,start,stop,channel"
    rows = prepare(["a,audio/b.flac,ONE,0.5,1.25,1", "b,audio/b.flac,TWO,1.25,,"], head=head)
    dataset = make_dataset([tmp_path / "save/train.csv"], LETTERS.build(tmp_path / "t.json", []), 8000)
    samples, _ = soundfile.read(data / "audio/b.flac", dtype="float32")
    np.testing.assert_allclose(dataset[0]["sig"], samples[4000:10000, 1])
    np.testing.assert_allclose(dataset[1]["sig"], samples[10000:].mean(1), atol=1e-6)
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        (None, "“Zoë’s twenty-one!” - she said"),
        ("upper", "ZOË'S TWENTY ONE SHE SAID"),
        ("lower", "zoë's twenty one she said"),
        (str.title, "“Zoë’S Twenty-One!” - She Said"),
    ],
)
def test_transcripts_are_normalized(prepare, normalize, expected):
    (row,) = prepare(["a,1,audio/a.wav,“Zoë’s twenty-one!” -  she said"], normalize=normalize).values()
    assert row["wrd"] == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c,3,audio/c.ogg", "line 4: too few columns"),
        ("c,3,audio/c.ogg,ONE, TWO", "line 4: too many columns; quote"),
        ("c,3,audio/gone.ogg,ONE", "line 4: there is no audio at .*/data/audio/gone.ogg"),
        ("c,3,train.csv,ONE", r"line 4: .*/data/train.csv: cannot be decoded .*rejected.txt"),
        ("c,3,audio/c.ogg, ", "line 4: the transcript is empty"),
        ("c,3,audio/c.ogg,?!", "line 4: the transcript is empty"),
        ("a,3,audio/c.ogg,ONE", "line 4: a is also in line 2"),
        ("c,9,audio/c.ogg,ONE", r"line 4: the duration is 9 s, and the audio lasts 3\.00 s"),
        ("c,long,audio/c.ogg,ONE", "line 4: 'long' is not a duration"),
        (
            "c,3,audio/c.ogg,ONÉ 2",
            "line 4 has 2 É, which the alphabet does not contain; .* all letters",
        ),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(prepare, data, tmp_path, line, said):
    with pytest.raises(UserError, match=rf"{data}/train\.csv, {said}") as caught:
        prepare([*GOOD, line], normalize="upper", tokenizer=LETTERS)
    assert "\n" not in str(caught.value)
    assert not [*(tmp_path / "save").glob("*.csv")]


def test_letters_of_another_case(prepare):
    lines = ["a,1,audio/a.wav,one Two"]
    with pytest.raises(UserError, match=r"line 2 has e n o w, .*, or .* form with --normalize upper$"):
        prepare(lines, tokenizer=LETTERS)
    assert prepare(lines, tokenizer=LETTERS, normalize="upper")
    with pytest.raises(UserError, match=r"all letters: [^,]*$"):
        prepare(["a,1,audio/a.wav,onè"], tokenizer=LETTERS)


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ("2,3.2", r"no segment from 2 s to 3\.2 s in 3\.00 s of audio"),
        ("-1,2", "no segment from -1 s to 2 s"),
        ("2,1", "no segment from 2 s to 1 s"),
        ("4,", "no segment from 4 s to its end"),
        ("one,2", "'one' is not a start"),
    ],
)
def test_a_segment_outside_the_audio_is_refused(prepare, data, segment, said):
    with pytest.raises(UserError, match=rf"{data}/train\.csv, line 2: {said}"):
        prepare([f"c,audio/c.ogg,ONE,{segment}"], head="ID,wav,wrd,start,stop")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"audio_filepath": "audio/a.wav"}', "line 1: no text"),
        ('{"audio_filepath": 7, "text": "A"}', "line 1: no audio_filepath"),
        ("[1]", "line 1: no JSON object on a line of its own"),
        ('{"audio_filepath": "audio/a.wav",', "line 1: no JSON object on a line of its own"),
    ],
)
def test_bad_json_is_refused_by_file_and_line(prepare, data, line, said):
    with pytest.raises(UserError, match=rf"{data}/train\.json, {said}"):
        prepare([line], "train.json")


def test_what_is_no_manifest_is_named(prepare, data):
    with pytest.raises(UserError, match=r"train\.csv, line 1: no column ID, wrd"):
        prepare(["audio/a.wav,A"], head="wav,text")
    with pytest.raises(UserError, match=r"train\.txt: a manifest is a file \*\.csv or \*\.json"):
        prepare(GOOD, "train.txt")
    with pytest.raises(UserError, match=r"train\.csv lists no utterances"):
        prepare([])
    (data / "dev.csv").unlink()
    with pytest.raises(UserError, match=r"no manifest at .*gone\.csv: name .* --data_folder"):
        OwnData(train_manifest="gone.csv").prepare(data, data)
    for options, said in ((["metric", "per"], "metric"), (["normalize", "title"], "normalize")):
        with pytest.raises(UserError, match=f"^{said} is "):
            OwnData(**dict([options]))


def test_training_may_do_without_unreadable_audio(prepare, data, tmp_path):
    lines = [*GOOD, "c,3,train.csv,ONE"]
    assert list(prepare(lines, max_left_out=0.5)) == ["a", "b"]
    assert re.match(rf"{data}/train.csv, line 4: ", (tmp_path / "save/rejected.txt").read_text())


class TestKeptTokens:
    """Tokens of another run stay as they are, whatever the new text."""

    @pytest.fixture
    def old(self, tmp_path):
        """A results folder with 18 subwords."""
        texts = ["ONE TWO", "TWO TWO NOON", "TEN NOTES ONE TONE", "WE WON TWO TOWN"]
        SentencePieceTokenizer.from_texts(texts, 18).save(tmp_path / "old/tokenizer.json")
        return tmp_path / "old"

    def test_a_sentencepiece_model_keeps_its_ids_on_other_text(self, old, prepare, tmp_path):
        prepare(["a,1,audio/a.wav,WENT WENT", "b,2,audio/b.flac,SEEN NEWTON"])
        manifests = [tmp_path / "save/train.csv"]
        kept = TokenizerSpec(size=18, kept=old).build(tmp_path / "new/tokenizer.json", manifests)
        before = load_tokenizer(old / "tokenizer.json")
        assert kept.pieces == before.pieces == load_tokenizer(tmp_path / "new/tokenizer.json").pieces
        assert kept.encode("SEEN NEWTON") == before.encode("SEEN NEWTON")
        made = TokenizerSpec(size=12).build(tmp_path / "other.json", manifests)
        assert made.pieces != before.pieces[:12]  # what another model would do

    def test_characters_without_tokens_are_refused(self, old, prepare, data):
        spec = TokenizerSpec(size=18, kept=old / "model.ckpt")
        assert prepare(GOOD, tokenizer=spec)
        said = (
            rf"{data}/train\.csv, line 2 has R, which the tokenizer of .*old/model.ckpt does not contain"
        )
        with pytest.raises(UserError, match=said):
            prepare(["a,1,audio/a.wav,TREE"], tokenizer=spec)

    def test_another_number_of_tokens_is_refused(self, old, prepare):
        with pytest.raises(UserError, match="old has 18 tokens, and by its settings 30"):
            prepare(GOOD, tokenizer=TokenizerSpec(size=30, kept=old))
