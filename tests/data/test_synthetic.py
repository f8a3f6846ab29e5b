import re

import soundfile

from speechbrain_recursive.data.synthetic import AISHELL, LIBRISPEECH


def transcripts(folder, split):
    lines = [p.read_text() for p in sorted(folder.glob(f"LibriSpeech/{split}/*/*/*.trans.txt"))]
    return [line.split(" ", 1) for line in "".join(lines).splitlines()]


def test_layout_is_that_of_librispeech(corpus):
    for split, count in zip(LIBRISPEECH.splits, (8, 2, 3), strict=True):
        audio = sorted(corpus.glob(f"LibriSpeech/{split}/*/*/*.flac"))
        assert len(audio) == count
        assert sorted(name for name, _ in transcripts(corpus, split)) == [p.stem for p in audio]
        for path in audio:
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.format) == (16000, 1, "FLAC")
            assert 0.8 < info.duration < 6
            speaker, chapter, number = path.stem.split("-")
            assert (path.parent.parent.name, path.parent.name) == (speaker, chapter)
            assert re.fullmatch(r"\d+-\d+-\d{4}", path.stem), number
    speakers = (corpus / "LibriSpeech" / "SPEAKERS.TXT").read_text().splitlines()
    assert len(speakers) == 1 + 8 + 2 + 3


def test_layout_is_that_of_aishell(aishell):
    corpus = aishell / "data_aishell"
    lines = (
        (corpus / "transcript" / "aishell_transcript_v0.8.txt").read_text(encoding="utf-8").splitlines()
    )
    texts = dict(line.split(" ", 1) for line in lines)
    assert len(texts) == len(lines) == 13
    for split, count in zip(AISHELL.splits, (8, 2, 3), strict=True):
        audio = sorted(corpus.glob(f"wav/{split}/*/*.wav"))
        assert len(audio) == count
        for path in audio:
            assert re.fullmatch(r"BAC009(S\d{4})W\d{4}", path.stem)[1] == path.parent.name
            assert all("\u4e00" <= c <= "\u9fff" or c == " " for c in texts.pop(path.stem))
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.format) == (16000, 1, "WAV")
            assert 0.8 < info.duration < 6
    assert not texts
