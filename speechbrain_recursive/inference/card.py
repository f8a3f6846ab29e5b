"""The model card of a published model: a README with the Hub's metadata."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from speechbrain_recursive import __version__
from speechbrain_recursive.analysis.plots import depth_axis
from speechbrain_recursive.analysis.report import markdown_table, results_table
from speechbrain_recursive.hub import of_hub

LICENSE = "apache-2.0"
FOLDERS = re.compile(r"""(?<![\w./:~-])~?/[^\s'",]*?([^\s'",/]+)/?(?=$|[\s'",}\]])""")  # absolute paths
PAPERS = {  # by what recipes are called
    "mini|depth|transformer_latent": "Rethinking Depth: A study of the Recursive-Transformer for Speech "
    "Recognition",
    "larm": "Test-Time Compute Scaling for ASR with Depth-Conditioned Looped Transformers",
    "bicycle": "BiCycle: Group-wise Recursive Transformer Based on ASR Mechanism",
    "foldable|conformer": "Unfolding A Few Structures for The Many: Memory-Efficient Compression of "
    "Conformer and Speech Foundation Models",
    "cif": "Knowledge Transfer from Pre-trained Language Models to Cif-based Speech Recognizers via "
    "Hierarchical Distillation",
}
SOFTWARE = """\
```bibtex
@software{{speechbrain_recursive,
  title = {{speechbrain_recursive}},
  author = {{{{The speechbrain\\_recursive developers}}}},
  version = {{{version}}},
  license = {{Apache-2.0}}
}}
```"""
USE = """\
With [speechbrain_recursive](https://pypi.org/project/speechbrain-recursive/):

```bash
speechbrain-recursive transcribe {name} speech.wav
```

```python
from speechbrain_recursive import RecursiveASR

asr = RecursiveASR.from_hparams("{name}")
print(asr.transcribe_file("speech.wav"))
```

With SpeechBrain's own interface, where speechbrain_recursive is installed:

```python
from speechbrain.inference.ASR import {stock}

asr = {stock}.from_hparams("{name}", savedir="model")
print(asr.transcribe_file("speech.wav"))
```

It runs {decoder} at the depth that the model was trained for. Its `encode_batch` returns
`speechbrain_recursive.Outputs`, with the states as `encoded`."""
INTENDED = """\
Transcription of speech like that of the test sets below, at {rate:,} Hz; other rates are resampled. It
was not tested on other kinds of speech, other accents or noise, and it recognizes some speakers worse
than others. It should not be the only basis of a decision about a person."""
SYNTHETIC = """\
The model was trained and tested on **synthetic speech**: it will not recognize recordings, and its error
rates are not comparable with those on recordings."""


def model_card(
    name: str,
    folder: Path,
    report: dict[str, Any],
    hparams: dict[str, Any],
    search: str | None,
    commands: Sequence[str] = (),
) -> str:
    """Write the card of a model.

    Arguments
    ---------
    name : str
        USER/NAME on the Hub.
    folder : pathlib.Path
        The published folder, whose images are shown.
    report : dict
        The run's ``report.json``, without paths of the machine.
    hparams : dict
        The run's hyperparameters.
    search : str, optional
        The decoder of SpeechBrain's ``EncoderDecoderASR``, if the model has one.
    commands : sequence of str
        Commands that made what the run uses, such as a language model.

    Returns
    -------
    str
        Markdown, with metadata in YAML.
    """
    rows, corpus = report["results"], hparams["corpus"]
    axis = depth_axis(rows)
    data = f"{report['corpus']} (synthetic)" if report["synthetic"] else corpus.title or report["corpus"]
    base = of_hub(str(hparams.get("warm_start")))
    title, millions = name.partition("/")[2], report["parameters"]["encoder"] / 1e6
    parts = [f"---\n{_metadata(title, report, corpus, data, base)}\n---", f"# {title}"]
    parts.append(
        f"A speech recognition model whose encoder of {millions:.2f} M parameters runs "
        f"{report['logical_depth']} layers deep. It was trained with speechbrain_recursive on {data}."
    )
    if base is not None:
        at = f", revision {base[1]}" if base[1] else ""
        parts[-1] += f" It started from [{base[0]}](https://huggingface.co/{base[0]}){at}."
    stock = {"stock": "EncoderDecoderASR", "decoder": f"`{search}`"} if search else {}
    stock = {"stock": "EncoderASR", "decoder": "greedy decoding"} | stock
    parts += ["## Use", USE.format(name=name, **stock)]
    parts += ["## Intended use", INTENDED.format(rate=hparams["sample_rate"])]
    parts += [SYNTHETIC] if report["synthetic"] else []
    table = results_table(rows, axis, report["multiply_adds_per_second"])
    parts += ["## Results", table, "Intervals: 95%, bootstrap over utterances (Bisani and Ney, 2004)."]
    parts += [f"![Error rates]({path.name})" for path in sorted(folder.glob("w*_vs_*.png"))]
    parts.append("The training and all these results are from")
    parts.append("```bash\n" + "\n".join([*commands, report["command"]]) + "\n```")
    parts += ["## Model", f"Schedule of layers: `{report['schedule']}`"]
    sizes = [[part, f"{count:,}"] for part, count in report["parameters"].items()]
    parts.append(markdown_table(["part", "parameters"], sizes))
    hours = [
        [split, f"{report['utterances'][split]:,}", f"{amount:.2f}"]
        for split, amount in report["hours"].items()
    ]
    parts += ["## Training", markdown_table(["split", "utterances", "hours"], hours)]
    about = ("seed", "steps", "training_seconds", "hardware", "commit")
    parts.append("\n".join(f"- {key.replace('_', ' ')}: `{report[key]}`" for key in about))
    parts += ["![Training curves](training.png)"] if (folder / "training.png").is_file() else []
    parts += ["## License", "Apache-2.0, as the software. Corpora have licenses of their own."]
    parts += ["## Citation", SOFTWARE.format(version=__version__)]
    if paper := paper_of(report["command"]):
        parts.append(f'The method is that of "{paper}".')
    return "\n\n".join(parts) + "\n"


def _metadata(title, report, corpus, data, base):
    """The Hub's metadata: error rates at the trained depth, with the rest of what it searches by."""
    metric, hub = corpus.metric, None if report["synthetic"] else corpus.hub
    results = [
        EvalResult(
            task_type="automatic-speech-recognition",
            dataset_type=hub or (corpus.title or report["corpus"]).lower().replace(" ", "-"),
            dataset_name=f"{data} {row['split']}",
            dataset_split=row["split"],
            metric_type=metric,
            metric_name=f"{metric.upper()} ({row['decoder']})",
            metric_value=round(row[metric], 2),
        )
        for row in report["results"]
        if row["trained"]
    ]
    return ModelCardData(
        language=corpus.language,
        license=LICENSE,
        library_name="speechbrain",
        tags=["speechbrain", "speechbrain_recursive", "automatic-speech-recognition"],
        pipeline_tag="automatic-speech-recognition",
        datasets=[hub] if hub else None,
        base_model=base and base[0],
        metrics=[metric],
        model_name=title,
        eval_results=results,
    ).to_yaml()


def paper_of(command: str) -> str | None:
    """The paper whose recipe a command runs, by the recipe's name.

    Example
    -------
    >>> paper_of("python train.py hparams/larm_mini.yaml --loops 8")[:36]
    'Test-Time Compute Scaling for ASR wi'
    """
    found = re.search(r"(\w+)\.ya?ml\b", command)
    names = (paper for stem, paper in PAPERS.items() if found and re.match(rf"({stem})(_|$)", found[1]))
    return next(names, None)


def public_command(command: str) -> str:
    """A command line without the folders of a machine.

    Example
    -------
    >>> public_command("python train.py a.yaml --data_folder /data/LibriSpeech --lr 1/2")
    'python train.py a.yaml --data_folder /path/to/LibriSpeech --lr 1/2'
    """
    return shlex.join(FOLDERS.sub(r"/path/to/\1", word) for word in shlex.split(command))
