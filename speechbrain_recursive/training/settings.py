"""What a training was started with, kept with its checkpoints."""

import json
from collections.abc import Mapping
from typing import Any

from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.merging import leaves, names_in, references

PLACES = {"output_folder", "data_folder", "synthetic_folder", "download", "trust"}
MANIFESTS = {"train_manifest", "dev_manifest"}  # what they hold is compared
EVALUATION = {"decoders", "eval_loops", "eval_depths", "bad_test_audio"}
EVALUATION |= {"corpus[test_splits]", "test_manifest"}
CHECKPOINTS = {"keep_checkpoints", "average_checkpoints", "ckpt_interval_minutes"}
LOGGING = {"tensorboard", "wandb_project", "log_interval"}
HARDWARE = {"num_workers", "eval_batch_seconds", "recompute", "compile_layers"}
CARD = {"language"}  # of a published model
FREE = PLACES | CARD | MANIFESTS | EVALUATION | CHECKPOINTS | LOGGING | HARDWARE
RISING = {"number_of_epochs"}
OPTIONS = ("auto_mix_prec", "bfloat16_mix_prec", "remove_vector_weight_decay")
MOST_NAMED = 8  # differences in one message


@register_checkpoint_hooks
class Settings:
    """A recoverable that refuses checkpoints of other settings or of another corpus.

    Some keys may change between two runs into one folder, since weights do not depend on them: where
    files are and whether folders are trusted, what is logged, how batches are loaded and evaluated, how
    often checkpoints are saved, and decoding, with every key that only ``decoders`` refers to.
    ``number_of_epochs`` may rise. All other keys must stay as they were when the training began.

    Make it the first recoverable, so that nothing else is loaded before it refuses.

    Arguments
    ---------
    tree : dict
        The merged YAML, references unresolved.
    run_opts : RunOptions or dict, optional
        SpeechBrain's run options, of which `OPTIONS` count as settings.

    Attributes
    ----------
    corpus : dict or None
        From each split that is trained or validated on to what
        :func:`speechbrain_recursive.data.manifest.summarize` says about it. While it is None, it is not
        compared.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_recursive.merging import parse
    >>> from speechbrain_recursive.training.checkpoints import AtomicCheckpointer
    >>> folder, text = tempfile.mkdtemp(), "lr: 0.1\\nbeam: 5\\ndecoders: {width: !ref <beam>}"
    >>> settings = Settings(parse(text, "a.yaml"))
    >>> _ = AtomicCheckpointer(folder, {"settings": settings}).save_checkpoint()
    >>> other = Settings(parse("lr: 0.2\\nbeam: 9\\ndecoders: {width: !ref <beam>}", "a.yaml"))
    >>> AtomicCheckpointer(folder, {"settings": other}).recover_if_possible()
    Traceback (most recent call last):
    speechbrain_recursive.errors.UserError: ... was trained with other settings: lr was 0.1, is 0.2; ...
    """

    def __init__(self, tree: Mapping[str, Any], run_opts: Any = None):
        self.values = dict(leaves(tree))
        self.values |= {name: True for name in OPTIONS if run_opts and run_opts.get(name)}
        self.free = _free_keys(tree)
        self.corpus = None

    @mark_as_saver
    def save(self, path):
        """Write settings and corpus as JSON.

        Arguments
        ---------
        path : pathlib.Path
            The file.
        """
        found = {"settings": self.values, "free": sorted(self.free), "corpus": self.corpus}
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Compare with what was saved.

        Arguments
        ---------
        path : pathlib.Path
            The file.
        end_of_epoch : bool
            Not used.

        Raises
        ------
        UserError
            If a setting or the corpus differs.
        """
        del end_of_epoch
        saved = json.loads(path.read_text(encoding="utf-8"))
        changed = _differences(saved["settings"], self.values, self.free.union(saved["free"]))
        what = "with other settings"
        if not changed and self.corpus is not None:
            changed, what = _corpus_differences(saved["corpus"], self.corpus), "on another corpus"
        if changed:
            more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
            raise UserError(
                f"{path.parent.parent} was trained {what}: {', '.join(changed[:MOST_NAMED])}{more}; "
                "set this back or choose another --output_folder"
            )


def _free_keys(tree):
    """The keys that may change: those of `FREE`, and what only these refer to."""
    users = {}
    for key, text in references(tree):
        for name in names_in(text):
            users.setdefault(name, set()).add(key.partition("[")[0])
    free = FREE
    while more := {name for name, by in users.items() if by <= free} - free:
        free = free | more
    return free


def _differences(old, new, free):
    changed = []
    for key in dict.fromkeys((*old, *new)):
        if any(key == name or key.startswith(f"{name}[") for name in free):
            continue
        before, now = old.get(key, "absent"), new.get(key, "absent")
        numbers = all(isinstance(value, int) for value in (before, now))
        if before != now and not (key in RISING and numbers and now > before):
            changed.append(f"{key} was {_text(before)}, is {_text(now)}")
    return changed


def _corpus_differences(old, new):
    def text(split):
        return f"{split['utterances']:,} utterances ({split['hours']:.2f} h)" if split else "absent"

    return [
        f"{name} had {text(old.get(name))}, has {text(new.get(name))}"
        + (" of other audio or text" if text(old.get(name)) == text(new.get(name)) else "")
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _text(value):
    return value if isinstance(value, str) else json.dumps(value)
