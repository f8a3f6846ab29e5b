"""Any audio file becomes text at any depth, and what is no audio is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.inference.decoders import best_decoder
from speechbrain_recursive.inference.transcribe import RecursiveASR


@pytest.fixture
def transcribe(capsys):
    """``transcribe(folder, files, *options)``: the command's exit code, its output lines, its error."""

    def run(folder, files, *options):
        code = main(["transcribe", str(folder), *map(str, files), *options])
        out, error = capsys.readouterr()
        return code, out.splitlines(), error

    return run


@pytest.fixture(scope="module")
def speech(librispeech):
    return sorted(librispeech.glob("LibriSpeech/test-clean/*/*/*.flac"))


def test_text_is_that_of_the_evaluation(trained, librispeech, speech, transcribe):
    rows = json.loads((trained / "hypotheses.json").read_text())
    for name in ("greedy", "ngram", "joint"):
        code, lines, _ = transcribe(trained, speech, "--decoder", name)
        assert code == 0
        found = {row["id"]: row["hypothesis"] for row in rows if row["decoder"] == name}
        assert lines == [f"{path}\t{found[path.stem]}" for path in speech]


def test_loops_change_the_text(talkative, speech, transcribe):
    texts = [
        transcribe(talkative, speech, *loops)[1]
        for loops in ([], ["--loops", "3"], ["--loops", "1"], ["--loops", "4"], ["--depth", "10"])
    ]
    assert texts[0] == texts[1]  # the count trained for
    assert texts[3] == texts[4]  # four loops of two layers, between two others
    assert len({tuple(lines) for lines in texts}) == 3
    assert all(line.split("\t")[1] for line in texts[0])


def test_rates_channels_and_formats(talkative, speech, transcribe, tmp_path):
    samples, rate = soundfile.read(speech[0])
    soundfile.write(tmp_path / "same.wav", np.stack([samples, samples], 1), rate, subtype="PCM_16")
    soundfile.write(tmp_path / "slow.wav", np.stack([samples[::2]] * 2, 1), rate // 2)
    soundfile.write(tmp_path / "lossy.mp3", samples, rate)
    files = [speech[0], *(tmp_path / name for name in ("same.wav", "slow.wav", "lossy.mp3"))]
    code, lines, _ = transcribe(talkative, files)
    assert code == 0
    texts = [line.split("\t")[1] for line in lines]
    assert texts[0] == texts[1]
    assert all(texts)
    assert all(len(read_audio(path)) == pytest.approx(len(samples), rel=0.05) for path in files)


@pytest.mark.parametrize("samples", [1, 100, 401, 1000])
def test_very_short_audio_is_no_error(talkative, transcribe, tmp_path, samples):
    soundfile.write(tmp_path / "short.wav", np.zeros(samples), 16000)
    assert transcribe(talkative, [tmp_path / "short.wav"])[0] == 0


def test_the_result_does_not_depend_on_what_was_transcribed_before(talkative, speech):
    asr = RecursiveASR.from_hparams(talkative)
    alone = asr.transcribe_file(speech[1])
    asr.transcribe_file(speech[0], loops=5)
    assert asr.transcribe_file(speech[1]) == alone


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("gone.flac", None, [], "gone.flac does not exist"),
        ("text.wav", b"no audio at all", [], "text.wav cannot be read as audio"),
        ("empty.wav", b"", [], "empty.wav cannot be read as audio"),
        ("silent.wav", np.zeros(0), [], "silent.wav holds no audio"),
        (
            "good.wav",
            np.zeros(8000),
            ["--loops", "0"],
            "--loops 0: block 'recurrent': loops must be at least 1, got 0",
        ),
        ("good.wav", np.zeros(8000), ["--loops", "-1"], "loops must be at least 1, got -1"),
    ],
)
def test_mistakes_are_one_line(trained, transcribe, tmp_path, name, content, options, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        soundfile.write(tmp_path / name, content, 16000)
    code, _, error = transcribe(trained, [tmp_path / name], *options)
    assert code == 1
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_without_a_run_is_named(tmp_path, speech, transcribe):
    code, _, error = transcribe(tmp_path, speech)
    assert code == 1
    assert error == f"error: {tmp_path} holds no finished run: there is no model.ckpt\n"


def test_a_language_model_is_no_asr_model(lm, speech, transcribe):
    code, _, error = transcribe(lm, speech)
    assert code == 1
    assert "holds TransformerLM, not ASRModel" in error
    assert error.count("\n") == 1


def test_a_bad_file_does_not_stop_the_others(talkative, speech, transcribe, tmp_path):
    samples = np.zeros(8000)
    samples[100] = np.nan
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    expected = transcribe(talkative, speech)[1]
    gone = tmp_path / "gone.wav"
    code, lines, error = transcribe(talkative, [speech[0], tmp_path / "bad.wav", gone, *speech[1:]])
    assert code == 1
    assert lines == expected
    first, second = error.splitlines()
    assert first.startswith(f"error: {tmp_path / 'bad.wav'} cannot be read as audio: samples are NaN")
    assert second == f"error: {gone} does not exist"


def test_silence_is_named(talkative, speech, transcribe, tmp_path, caplog):
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16000)
    assert transcribe(talkative, [speech[0], tmp_path / "silent.wav"])[0] == 0
    assert caplog.messages == [f"{tmp_path / 'silent.wav'} is silent"]


def test_a_batch_gives_what_single_files_give(talkative, speech):
    asr = RecursiveASR.from_hparams(talkative, decoder="greedy")
    signals = [read_audio(path) for path in speech]
    signals.append(signals[0][:9000])
    together = [*asr.transcribe(signals, loops=4)]
    for signal, found in zip(signals, together, strict=True):
        (alone,) = asr.transcribe([signal], loops=4)
        assert found.text == alone.text != ""
        for word, other in zip(found.words, alone.words, strict=True):
            assert word[:3] == other[:3]
            assert word.confidence == pytest.approx(other.confidence, abs=1e-4)
    wavs = torch.nn.utils.rnn.pad_sequence(signals, batch_first=True)
    lens = torch.tensor([len(signal) / wavs.shape[1] for signal in signals])
    texts, tokens = asr.transcribe_batch(wavs, lens, loops=4)
    assert texts == [found.text for found in together]
    assert [asr.tokenizer.decode(ids) for ids in tokens] == texts


def test_times_are_within_the_recording_and_in_order(talkative, speech, transcribe):
    code, lines, _ = transcribe(talkative, speech, "--json")
    assert code == 0
    for line, path in zip(lines, speech, strict=True):
        found = json.loads(line)
        assert found["audio"] == str(path)
        assert found["seconds"] == pytest.approx(soundfile.info(path).duration, abs=1e-3)
        assert found["text"].split() == [word["word"] for word in found["words"]]
        times = [word[key] for word in found["words"] for key in ("start", "end")]
        assert [0, *times, found["seconds"]] == sorted([0, *times, found["seconds"]])
        assert all(0 < word["confidence"] <= 1 for word in found["words"])


def test_the_default_decoder_is_the_best_of_the_report(trained, tmp_path):
    hparams = RecursiveASR.from_hparams(trained).hparams

    def best(loops=None, **rates):
        rows = [
            {"decoder": name, "wer": wer, "trained": n == 3, "loops": n, "split": "test-clean"}
            for name, by_loops in rates.items()
            for n, wer in by_loops.items()
        ]
        (tmp_path / "report.json").write_text(json.dumps({"results": rows}))
        return best_decoder(tmp_path, hparams, loops and hparams["model"].depth(loops))

    assert best(greedy={3: 9}, ngram={3: 2}, joint={3: 1}) == "joint"
    assert best(5, greedy={3: 9, 5: 8}, ngram={3: 2, 5: 10}, joint={3: 1}) == "greedy"
    assert best(3, greedy={3: 9, 5: 8}, ngram={3: 2, 5: 10}, joint={3: 1}) == "joint"
    assert best(4, greedy={3: 9}, ngram={3: 2}, joint={3: 1}) == "ngram"  # which runs at any depth
    (tmp_path / "report.json").unlink()
    assert best_decoder(tmp_path, hparams, None) == "greedy"


def test_a_missing_ngram_and_a_wrong_name_are_one_line(talkative, speech, transcribe):
    code, _, error = transcribe(talkative, speech, "--decoder", "ngram")
    assert code == 1
    assert error.startswith(
        f"error: {talkative / 'ngram4.arpa'} does not exist: repeat the run's command"
    )
    code, _, error = transcribe(talkative, speech, "--decoder", "beam")
    assert (code, error) == (1, f"error: --decoder beam: {talkative} has greedy, ngram, joint\n")


def test_channels(talkative, speech, transcribe, tmp_path, caplog):
    one, other = (soundfile.read(path)[0][:16000] for path in speech[:2])
    soundfile.write(tmp_path / "two.wav", np.stack([one, other], 1), 16000)
    soundfile.write(tmp_path / "phase.wav", np.stack([one, -one], 1), 16000)
    for name, signal in (("one", one), ("other", other)):
        soundfile.write(tmp_path / f"{name}.wav", signal, 16000)
    files = [tmp_path / f"{name}.wav" for name in ("one", "other")]
    texts = [line.split("\t")[1] for line in transcribe(talkative, files)[1]]
    two = tmp_path / "two.wav"
    lines = transcribe(talkative, [two], "--channels", "each")[1]
    assert lines == [f"{two}:{channel}\t{text}" for channel, text in enumerate(texts)]
    assert transcribe(talkative, [two], "--channels", "1")[1] == [f"{two}\t{texts[1]}"]
    assert transcribe(talkative, [tmp_path / "phase.wav"])[1] == [f"{tmp_path}/phase.wav\t{texts[0]}"]
    assert "channels cancel each other out" in caplog.messages[0]
    assert transcribe(talkative, [tmp_path / "one.wav"], "--channels", "1")[0] == 1


def test_long_audio_is_read_by_windows(talkative, speech):
    asr = RecursiveASR.from_hparams(talkative, decoder="greedy")
    pause = torch.zeros(8000)
    parts = [read_audio(path) for path in speech]
    durations = sorted(len(part) / 16000 + 0.6 for part in parts)
    asr.durations = type(asr.durations)(1.0, durations[1], durations[-1])
    assert len(durations) > 1
    signal = torch.cat([piece for part in parts for piece in (part, pause)])
    (found,) = asr.transcribe([signal], batch_seconds=1)
    assert found.seconds == len(signal) / 16000
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert starts[-1] > found.seconds - durations[-1]


class TestArchive:
    """A folder of transcripts, one file per recording."""

    @pytest.fixture
    def folder(self, speech, tmp_path):
        (tmp_path / "in/b").mkdir(parents=True)
        for name, path in zip(("a", "b/c", "b/d"), [*speech, speech[0]], strict=False):
            (tmp_path / f"in/{name}.flac").symlink_to(path)
        return tmp_path / "in"

    def test_what_is_finished_is_skipped(self, talkative, folder, transcribe, tmp_path):
        out = tmp_path / "out"
        options = ["--out_dir", str(out), "--srt", "--json"]
        code, lines, _ = transcribe(talkative, [folder], *options)
        assert code == 0
        made = [out / f"{name}.{suffix}" for name in ("a", "b/c", "b/d") for suffix in ("json", "srt")]
        assert lines == [str(path) for path in made]
        plain = transcribe(talkative, [folder])[1]
        assert [json.loads(path.read_text())["text"] for path in made[::2]] == [
            line.split("\t")[1] for line in plain
        ]
        assert "-->" in made[1].read_text()
        made[3].unlink()
        assert transcribe(talkative, [folder], *options)[1] == [str(path) for path in made[2:4]]
        assert transcribe(talkative, [folder], *options)[:2] == (0, [])

    def test_other_settings_are_refused(self, talkative, folder, transcribe, tmp_path):
        options = ["--out_dir", str(tmp_path / "out")]
        assert transcribe(talkative, [folder], *options)[0] == 0
        code, _, error = transcribe(talkative, [folder], *options, "--loops", "1")
        assert code == 1
        assert "its transcripts were made with other settings" in error

    def test_processes_share_the_files(self, talkative, folder, transcribe, tmp_path, monkeypatch):
        alone, lines = transcribe(talkative, [folder])[1], []
        monkeypatch.setenv("WORLD_SIZE", "2")
        for rank in "01":
            monkeypatch.setenv("RANK", rank)
            lines.append(transcribe(talkative, [folder])[1])
        assert [len(each) for each in lines] == [2, 1]
        assert sorted(lines[0] + lines[1]) == sorted(alone)
        assert "cannot share the standard input" in transcribe(talkative, ["-"])[2]

    def test_a_killed_run_goes_on_with_the_rest(self, talkative, folder, transcribe, tmp_path):
        options = ["--out_dir", str(tmp_path / "out"), "--batch_seconds", "1"]
        words = ["transcribe", str(talkative), str(folder), *options]
        run = [sys.executable, "-m", "speechbrain_recursive", *words]
        process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline().strip()
        process.kill()
        process.wait()
        before = Path(first).stat().st_mtime_ns
        assert first == str(tmp_path / "out/a.txt")
        code, lines, _ = transcribe(talkative, [folder], *options)
        assert code == 0
        assert first not in lines
        assert Path(first).stat().st_mtime_ns == before
        texts = [line.split("\t")[1] for line in transcribe(talkative, [folder])[1]]
        made = [(tmp_path / "out" / f"{name}.txt").read_text() for name in ("a", "b/c", "b/d")]
        assert made == [f"{text}\n" for text in texts]
        assert not list((tmp_path / "out").rglob("*.partial"))

    def test_subtitles_of_several_files_need_a_folder(self, talkative, folder, transcribe):
        code, _, error = transcribe(talkative, [folder], "--vtt")
        assert (code, error) == (1, "error: --vtt: several files need an --out_dir\n")
