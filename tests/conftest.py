"""What several rooms of the tests need: a tiny corpus, and recipes that run on it in this process."""

import importlib.util
import json
import runpy
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from speechbrain.inference.ASR import EncoderASR, EncoderDecoderASR

from speechbrain_recursive.analysis.nist import scorer
from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.data.common_voice import CommonVoice
from speechbrain_recursive.data.dataset import eval_loader, make_dataset
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.own_data import OwnData
from speechbrain_recursive.data.switchboard import Switchboard
from speechbrain_recursive.hparams import merge
from speechbrain_recursive.inference import publish as module
from speechbrain_recursive.inference.publish import publish
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.nn.bert import MARKS, masked_lm

RECIPES = Path(__file__).parents[1] / "recipes"
torch.set_num_threads(1)  # the tests run side by side, and threads change the order of sums

# What makes a recipe small, where its YAML has the key.
REDUCED = {
    "d_model": 16,
    "nhead": 2,
    "d_ffn": 32,
    "n_mels": 8,
    "num_workers": 0,
    "max_batch_seconds": 8,
    "max_batch_tokens": 200,
    "grad_accumulation_factor": 1,
    "number_of_epochs": 3,
    "number_of_steps": 2,
    "synthetic": {"n_train": 40, "n_dev": 2, "n_test": 2},
    "num_decoder_layers": 1,
    "stages": [1, 1, 1],
    "frontend_channels": 4,
    "tensorboard": False,
    "distillation_epochs": 1,
    "conv_channels": 8,
    "source": None,
    "vocabulary": None,
    "teacher_width": 16,
}
SIZES = {"char": 200, "wordpiece": 100}  # of vocabularies; 50 for others
LM = {"num_encoder_layers": 2, "d_model": 16, "nhead": 2, "d_ffn": 32}
SPLITS = {
    "LibriSpeech": {
        "train_splits": ["train-clean-100"],
        "dev_splits": ["dev-clean"],
        "test_splits": ["test-clean"],
    },
    "AISHELL-1": {},
    "CommonVoice-fr": {},
    "Switchboard": {"dev_conversations": 1, "test_splits": ["hub5e_00"]},
    "Manifest": {},
}


merged = cache(merge)  # for those who only read


def pytest_collection_modifyitems(items):
    """The longest tests come first, so that no worker waits for one of them at the end."""
    items.sort(key=lambda item: "test_readme_commands" not in item.nodeid)


def flags(options):
    """A dict as words of a command line."""
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    return [*words, "--device", "cpu", "--noprogressbar"]


@pytest.fixture(scope="session")
def librispeech(tmp_path_factory):
    """Two dozen synthetic utterances to train on, in LibriSpeech's layout."""
    folder = tmp_path_factory.mktemp("librispeech")
    return LibriSpeech().synthesize(folder, n_train=24, n_dev=2, n_test=2)


@pytest.fixture(scope="session")
def aishell(tmp_path_factory):
    """A dozen synthetic utterances in AISHELL-1's layout."""
    return Aishell1().synthesize(tmp_path_factory.mktemp("aishell"), n_train=8, n_dev=2, n_test=3)


@pytest.fixture(scope="session")
def common_voice(tmp_path_factory):
    """A dozen synthetic utterances in Common Voice's layout."""
    folder = tmp_path_factory.mktemp("common_voice")
    return CommonVoice().synthesize(folder, n_train=8, n_dev=2, n_test=3)


@pytest.fixture(scope="session")
def switchboard(tmp_path_factory):
    """Synthetic turns in the layout of Switchboard and Hub5'00; the first conversation is for dev."""
    folder = tmp_path_factory.mktemp("switchboard")
    return Switchboard().synthesize(folder, n_train=18, n_dev=2, n_test=6)


@pytest.fixture(scope="session")
def own_data(tmp_path_factory):
    """A dozen synthetic utterances with manifests."""
    return OwnData().synthesize(tmp_path_factory.mktemp("own_data"), n_train=8, n_dev=2, n_test=3)


@pytest.fixture(scope="session")
def run_recipe():
    """``run_recipe(argv, recipe="LibriSpeech")``: what the command line does, without its process."""

    def run(argv, recipe="LibriSpeech"):
        script = RECIPES / recipe / "train.py"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(script), *map(str, argv)])
            runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.fixture(scope="session")
def small_mini(librispeech):
    """``small_mini(folder, **more)``: words that run the mini recipe at a small width for two steps."""

    def words(folder, **more):
        given = {
            "data_folder": librispeech,
            "output_folder": folder,
            "d_model": 16,
            "nhead": 2,
            "d_ffn": 32,
            "eval_loops": "[3]",
            "number_of_steps": 2,
            "tensorboard": False,
        }
        options = flags(given | more)[:-1]
        return [RECIPES / "LibriSpeech/hparams/mini.yaml", *options]

    return words


@pytest.fixture(scope="session")
def mini(small_mini, run_recipe):
    """``mini(folder, *more)``: runs it; returns the folder."""

    def run(folder, *more):
        more = dict(zip(more[::2], more[1::2], strict=True))
        run_recipe([*small_mini(folder, **more), "--noprogressbar"])
        return folder

    return run


@pytest.fixture(scope="session")
def trained(mini, tmp_path_factory):
    """A results folder of two steps. Its loop count is 3."""
    return mini(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def talkative(trained, tmp_path_factory):
    """The results folder with random weights in place of two steps' ones, which only say blanks."""
    folder = tmp_path_factory.mktemp("talkative")
    for name in ("hyperparams.yaml", "tokenizer.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    torch.manual_seed(3)
    weights = torch.load(trained / "model.ckpt")
    torch.save(
        {k: v + torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()},
        folder / "model.ckpt",
    )
    return folder


@pytest.fixture(scope="session")
def streamer(librispeech, run_recipe, small, tmp_path_factory):
    """The results folder of a small model that streams, with weights that say something."""
    recipe = RECIPES / "LibriSpeech/hparams/streaming_mini.yaml"
    folder = tmp_path_factory.mktemp("streamer")
    given = {"data_folder": librispeech, "output_folder": folder, **small(recipe), "eval_loops": "[3]"}
    run_recipe([recipe, *flags(given)])
    weights = torch.load(folder / "model.ckpt")
    torch.manual_seed(0)
    for name, weight in weights.items():
        if weight.dim() > 1:
            weight += (3 if "ctc" in name else 0.1) * torch.randn_like(weight)
    torch.save(weights, folder / "model.ckpt")
    return folder


@pytest.fixture(scope="session")
def lm(librispeech, run_recipe, tmp_path_factory):
    """The results folder of a language model of two steps, with the tokens of ``trained``."""
    folder = tmp_path_factory.mktemp("lm")
    given = {
        "data_folder": librispeech,
        "output_folder": folder,
        "corpus": "{train_splits: [train-clean-100], test_splits: [test-clean]}",
        "tokenizer": '{characters: "\'ABCDEFGHIJKLMNOPQRSTUVWXYZ", size: null}',
        "model": "{num_encoder_layers: 2, d_model: 16, nhead: 2, d_ffn: 32}",
        "max_batch_tokens": 400,
        "number_of_steps": 2,
        "num_workers": 0,
        "tensorboard": False,
    }
    run_recipe([RECIPES / "LibriSpeech/hparams/transformer_lm.yaml", *flags(given)])
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A server in the place of the Hub, and a token for it.

    HF_ENDPOINT and HF_HUB_DISABLE_XET are read when the package is imported, which it already is.
    """
    path = Path(__file__).with_name("inference") / "hub_server.py"
    spec = importlib.util.spec_from_file_location("hub_server", path)
    hub_server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hub_server)
    with hub_server.hub() as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache/hub"))
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


@pytest.fixture(scope="session")
def small():
    """``small(recipe)``: overrides that make a recipe run in a moment, from the path of its YAML."""

    def overrides(path):
        tree = merged(path)
        given = {key: value for key, value in REDUCED.items() if key in tree}
        given["corpus"] = SPLITS[path.parents[1].name]
        if tree.get("eval_loops"):
            given["eval_loops"] = [1]
        if "decoders" in tree and "joint" in tree["decoders"]:
            given["decoders"] = {"joint": {"beam_size": 2}}
        if path.stem in ("transformer_lm", "bert_mini"):
            given["tokenizer"] = {"size": SIZES.get(tree["tokenizer"]["token_type"], 50)}
            given |= {} if "d_model" in tree else {"model": LM}
        elif not tree.get("characters", "those of another model"):
            given["vocab_size"] = SIZES.get(tree["token_type"], 50)
        if "bert" in tree:
            given["bert"] = "results/bert_mini/1234/bert"
        return given

    return overrides


@pytest.fixture(scope="session")
def peers(run_recipe, small, tmp_path_factory):
    """``peers(recipe, corpus)``: overrides that name the small trained models that it needs."""
    trained = {}

    def train(recipe, corpus):
        if recipe not in trained:
            trained[recipe] = tmp_path_factory.mktemp(recipe.stem)
            given = {"data_folder": corpus, "output_folder": trained[recipe], **small(recipe)}
            run_recipe([recipe, *flags(given)], recipe.parents[1].name)
        return trained[recipe]

    def overrides(path, corpus):
        tree = merged(path)
        if "bert" in tree:
            return {"bert": train(path.with_name("bert_mini.yaml"), corpus) / "bert"}
        if path.stem == "finetune":
            return {"warm_start": train(path.with_name("train.yaml"), corpus)}
        if "teacher" not in tree:
            return {}
        return {"teacher": train(path.with_name(f"{Path(tree['teacher']).parent.name}.yaml"), corpus)}

    return overrides


@pytest.fixture(scope="session")
def write_bert():
    """``write_bert(folder, tokenizer)``: a BERT of random weights in Hugging Face's format."""

    def write(folder, tokenizer, num_layers=2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = masked_lm(len(tokenizer), d_model=16, nhead=2, d_ffn=32, num_layers=num_layers)
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
        vocabulary = [*MARKS, *reversed(tokenizer.pieces[4:])]  # in another order than the tokenizer's
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def check_published():
    """``check_published(folder)``: publish a run and compare every interface with its evaluation.

    Returns the transcripts by decoder and ID.
    """

    def check(results):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "training_curves", lambda _: b"")  # which takes a while to plot
            folder = publish(results, "me/my-model", dry_run=True)["folder"]
        rows = json.loads((results / "report.json").read_text())["results"]
        (label,) = {row["label"] for row in rows if row["trained"]}
        heard = {}
        for row in json.loads((results / "hypotheses.json").read_text()):
            if row["label"] == label:
                heard.setdefault(row["decoder"], {})[row["id"]] = row["hypothesis"]
        asr = RecursiveASR.from_hparams(folder)
        splits = {row["split"] for row in rows} & {path.stem for path in results.glob("manifests/*.csv")}
        manifests = [results / f"manifests/{split}.csv" for split in splits]
        dataset = make_dataset(manifests, asr.tokenizer, asr.model.sample_rate)
        batches = [(batch.id, batch.wrd, batch.sig) for batch in eval_loader(dataset)]
        count = scorer(dataset.data, asr.hparams["corpus"].rules(manifests[0]))

        def texts(transcribe):
            """What a function of waveforms and lengths makes of the test sets, as scored, by ID."""
            found = [(ids, words, transcribe(*sig)[0]) for ids, words, sig in batches]
            rows = [row for columns in found for row in zip(*columns, strict=True)]
            scored = count([(uid, asr.units(one), asr.units(other)) for uid, one, other in rows])
            return {uid: " ".join(words) for uid, _, words in scored.triples}

        for name, expected in heard.items():
            asr.decoder = name
            assert texts(asr.transcribe_batch) == expected, name
        stock = EncoderASR.from_hparams(str(folder))
        assert texts(stock.transcribe_batch) == heard["greedy"]
        decoders = asr.hparams["decoders"]
        searches = [name for name in decoders if "ctc" not in decoders[name].request.heads]
        assert ("decoder" in stock.mods) == bool(searches)
        if searches:
            stock = EncoderDecoderASR.from_hparams(str(folder))
            decoder = stock.mods["decoder"].decoder
            (name,) = (n for n, each in stock.hparams.decoders.items() if each is decoder)
            assert texts(stock.transcribe_batch) == heard[name]
        return heard

    return check
