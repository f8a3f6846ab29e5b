"""The task of speech recognition: batches, forward pass, dev error and test report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.analysis.cost import count_parameters, multiply_adds_per_second
from speechbrain_recursive.analysis.nist import scorer
from speechbrain_recursive.analysis.report import result_row, write_report
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.data.dataset import make_dataset
from speechbrain_recursive.data.durations import KEY, Durations
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.peers import load_peer
from speechbrain_recursive.decoding.decoder import Decoder, Setting
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.nn.depth import Depth, labels
from speechbrain_recursive.nn.loops import LoopPolicy
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.training.evaluation import Evaluation, Point, durations, evaluate, requests_of
from speechbrain_recursive.training.task import Task
from speechbrain_recursive.training.teachers import Teacher, transcripts_of


@dataclass(eq=False)
class ASR(Task):
    """Trains an ASR model at the depths of a policy and reports it at all depths that are asked for.

    Arguments
    ---------
    decoders : mapping of str to Decoder
        What test sets are decoded with, by the names that reports use.
    dev_decoder : str
        The one that gives the dev error.
    eval_loops : list, optional
        Depths to report besides the trained one: loop counts, mappings from block to loop count, or
        schedules; see :meth:`Depth.of`.
    eval_depths : list of int or range, optional
        Logical depths to report besides the trained one, each by its first path; see
        :meth:`~speechbrain_recursive.nn.schedule.Schedule.paths`.
    loop_policy : LoopPolicy, optional
        The schedule as it is by default.
    teachers : mapping of str to Teacher, optional
        What objectives may ask, by name.
    wav_augment : callable, optional
        From waveforms [B, S] and relative lengths [B] to others, in training, such as SpeechBrain's
        ``Augmenter``. Loop policies see the durations that result.
    fea_augment : callable, optional
        SpeechBrain's ``Augmenter``, on features in training.
    dynamic_chunks : callable, optional
        ``DynChunkTrainConfigRandomSampler``: trains and evaluates in chunks, for streaming.
    compile_layers : bool
        Compile the encoder's layers, once for all loops.

    Raises
    ------
    UserError
        If there is no decoder of the name ``dev_decoder``, or ``eval_loops`` or ``eval_depths``
        is not a list.
    """

    decoders: Mapping[str, Decoder]
    dev_decoder: str
    eval_loops: Sequence[Any] = ()
    eval_depths: Sequence[int] = ()
    loop_policy: LoopPolicy | None = None
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    wav_augment: Callable | None = None
    fea_augment: Callable | None = None
    dynamic_chunks: Callable | None = None
    compile_layers: bool = False

    def __post_init__(self):
        if self.dev_decoder not in self.decoders:
            raise UserError(f"dev_decoder: {self.dev_decoder} is none of {', '.join(self.decoders)}")
        for name, given in (("eval_loops", self.eval_loops), ("eval_depths", self.eval_depths)):
            if not isinstance(given, (list, tuple, range)):
                raise UserError(f"{name} is a list, such as [3, 5], not {given!r}")
        self.policy = self.loop_policy or LoopPolicy()

    def limits(self, hparams):
        """Padded seconds."""
        return hparams["max_batch_seconds"], hparams["eval_batch_seconds"]

    def dataset(self, manifests, tokenizer, hparams):
        """Audio and transcripts."""
        return make_dataset(manifests, tokenizer, hparams["sample_rate"])

    def setup(self, brain):
        """Try decoders, teachers and the model, so that what cannot work fails before training."""
        super().setup(brain)
        self.tokenizer, self.corpus = brain.tokenizer, brain.hparams.corpus
        self.error_name = self.corpus.metric.upper()
        folder = Path(brain.hparams.output_folder)
        self.scorers = {split: self._scorer(split) for split in self.corpus.test_splits}
        self.setting = Setting(self.model, self.tokenizer, folder, self._text, self._language_model)
        for decoder in self.decoders.values():
            decoder.check(self.setting)
        self.decode = self.decoders[self.dev_decoder].build(self.setting)
        for teacher in self.teachers.values():
            teacher.trust = brain.hparams.trust
            teacher.setup(self.tokenizer, brain.device)
            manifests = {split: folder / f"manifests/{split}.csv" for split in self.corpus.splits}
            teacher.expect(transcripts_of(manifests, self.corpus))
        if self.compile_layers:
            self.model.compile_layers()
        if getattr(self.model.embed, "lacks_statistics", False):
            self.model.embed.fit(self._some_audio(brain.hparams.statistics_seconds))
        self._try_model()
        self._check_requests()

    def amounts(self, batch):
        """Seconds of audio, without padding."""
        return {"audio seconds": sum(durations(batch.sig, self.model.sample_rate))}

    def forward(self, batch, training):
        """Run model and teachers: in training at the policy's depth, on augmented speech."""
        model, brain = self.model, self.brain
        batch = batch.to(brain.device)
        signals = self.wav_augment(*batch.sig) if training and self.wav_augment else batch.sig
        seconds = durations(signals, model.sample_rate)
        if training:
            depth = self.policy(model.schedule, brain.optimizer_step, brain.total_steps, seconds)
        else:
            depth = self.policy.at_inference(model.schedule, seconds)
        read = Request() if training else self.decoders[self.dev_decoder].request
        request = brain.hparams.objective.needs(depth) | read
        targets = {} if self.tokenizer.bos is None else {"tokens_bos": batch.tokens_bos.data}
        outputs = model(
            *signals,
            targets,
            depth,
            request,
            augment=(lambda *x: self.fea_augment(*x)[0]) if training and self.fea_augment else None,
            dynchunktrain_config=self._chunks(sb.Stage.TRAIN if training else sb.Stage.VALID),
        )
        for name, wanted in request.teachers.items():
            with torch.no_grad():
                outputs.teachers[name] = self._teacher(name)(*outputs.features, targets, batch, wanted)
        return outputs

    def reset(self):
        """Start counting the dev error."""
        self.hypotheses = []

    def observe(self, outputs, batch):
        """Decode a batch with the dev decoder."""
        self.hypotheses += self._triples(batch, self.decode(outputs))

    def dev_error(self):
        """Error rate of words or characters, in percent, at the trained depth."""
        return error_rate(self.hypotheses).wer

    def report(self, loaders, command, diverged=None):
        """Decode test sets at every depth and write the report; see :class:`Task`."""
        model, schedule = self.model.eval(), self.model.schedule
        asked = [*self._depths("eval_loops"), *self._depths("eval_depths")]
        names = labels([Depth(schedule), *asked])
        points = {
            names[depth]: Point(depth, lambda _, depth=depth: depth, False, self._supervises(depth))
            for depth in asked
        }
        of_batch = partial(self.policy.at_inference, schedule)
        points[self.policy.label(schedule)] = Point(Depth(schedule), of_batch, True, True)
        decoders = {name: (each, each.build(self.setting)) for name, each in self.decoders.items()}
        if diverged:
            found = self._nothing(loaders)
        else:
            found = evaluate(
                model,
                loaders,
                points,
                decoders,
                self.dev_decoder,
                self._triples,
                metric=self.corpus.metric,
                chunks=self._chunks(sb.Stage.TEST),
                scorers=self.scorers,
                subset=self.corpus.subset,
            )
        info = {
            "schedule": str(schedule),
            "logical_depth": len(schedule),
            "parameters": count_parameters(model.parts()),
            "multiply_adds_per_second": {
                name: multiply_adds_per_second(model, point.depth) for name, point in points.items()
            },
            KEY: Durations.measured(row["duration"] for row in self._train_rows())._asdict(),
            "engines": {name: each.engine(decode) for name, (each, decode) in decoders.items()},
            **self.about_run(command, diverged),
        }
        write_report(self.setting.folder, found.rows, info, found.worst)
        text = json.dumps(found.hypotheses, indent=1, ensure_ascii=False)
        write_whole(self.setting.folder / "hypotheses.json", text)
        return {"results": found.rows, **info}

    def _nothing(self, loaders):
        """The evaluation of a training that diverged: rows without error rates."""
        schedule, metric = self.model.schedule, self.corpus.metric
        about = Depth(schedule), self.policy.label(schedule)
        rows = [
            result_row(split, about[0], name, None, None, True, True, metric, about[1])
            for split in loaders
            for name in self.decoders
        ]
        return Evaluation(rows, {}, [])

    @torch.no_grad()
    def _try_model(self):
        """Run a second of silence as training does, and at the deepest depths as the report does."""
        model, schedule = self.model.eval(), self.model.schedule
        second = torch.ones(1, device=self.brain.device)
        silence = torch.zeros(1, model.sample_rate, device=self.brain.device)
        tokens = torch.ones_like(silence[:, :2], dtype=torch.long)
        targets = {} if self.tokenizer.bos is None else {"tokens_bos": tokens}
        chunks = DynChunkTrainConfig(chunk_size=8) if self.dynamic_chunks else None
        for what in ("the model cannot run", "eval_loops", "eval_depths"):
            try:
                depth = self.policy.at_inference(schedule, [1.0])
                requests = self.brain.hparams.objective.requests(depth)
                if what != "the model cannot run":
                    depth, targets = max([depth, *self._depths(what)], key=len), {}
                    requests = [requests_of(self.decoders.values())]
                for request in requests:
                    model(silence, second, targets, depth, request, dynchunktrain_config=chunks)
            except torch._dynamo.exc.TorchDynamoException as error:
                why = one_line(str(error).partition("\n\nSet TORCH")[0])
                raise UserError(f"compile_layers: {why}; False runs without compiling") from error
            except (ValueError, RuntimeError, LookupError) as error:
                raise UserError(f"{what}: {one_line(error)}") from error

    def _depths(self, key):
        """The depths of a key of the YAML that are reported besides the trained one."""
        schedule = self.model.schedule
        if key == "eval_loops":
            return [Depth.of(schedule, request) for request in self.eval_loops]
        return [Depth(schedule.with_depth(depth)) for depth in self.eval_depths]

    def _check_requests(self):
        """Refuse what the objective asks for at the depths of training, if that cannot be had."""
        for depth in self.policy.rehearse(self.model.schedule):
            for request in self.brain.hparams.objective.requests(depth):
                self.model.check_training(depth, request)
                for name in request.teachers:
                    self._teacher(name)

    def _teacher(self, name):
        if name not in self.teachers:
            raise UserError(f"the objective asks for teacher '{name}', which is not under teachers:")
        return self.teachers[name]

    def _supervises(self, depth):
        """Whether a depth has a loss in training, of its own or as an exit of the trained one."""
        schedule = self.model.schedule
        needs = self.brain.hparams.objective.needs(Depth(schedule))
        depths = {*needs.exits, *(run.depth for run in needs.runs.values())}
        return self.policy.supervises(schedule, depth) or depth in depths

    def _triples(self, batch, decoded):
        """Id, reference and hypothesis of each utterance, in the units that errors are counted in."""
        units = self.corpus.units
        return [
            (uid, units(words), units("" if bad else self.tokenizer.decode(ids)))
            for uid, words, ids, bad in zip(batch.id, batch.wrd, decoded, batch.unreadable, strict=True)
        ]

    def _scorer(self, split):
        manifest = Path(self.brain.hparams.output_folder, "manifests", f"{split}.csv")
        return scorer(read_manifest(manifest), self.corpus.rules(manifest))

    def _text(self):
        """Training transcripts, for n-grams: units with spaces between them."""
        return [" ".join(self.corpus.units(row["wrd"])) for row in self._train_rows()]

    def _train_rows(self):
        folder = self.setting.folder / "manifests"
        manifests = (read_manifest(folder / f"{split}.csv") for split in self.corpus.train_splits)
        return [row for rows in manifests for row in rows.values()]

    def _some_audio(self, seconds):
        """Training utterances of so many seconds in all, or all, evenly from the manifests."""
        rows = [row for row in self._train_rows() if not row["unreadable"]]
        every = max(1, sum(row["duration"] for row in rows) / seconds)
        for index in range(int(len(rows) / every)):
            row = rows[int(index * every)]
            span = row["start"], row["stop"], row["channel"]
            yield read_audio(row["wav"], self.model.sample_rate, *span)

    def _language_model(self, folder):
        trust = self.brain.hparams.trust
        return load_peer(folder, self.tokenizer, TransformerLM, trust).to(self.brain.device)

    def _chunks(self, stage):
        return self.dynamic_chunks and self.dynamic_chunks(stage)
