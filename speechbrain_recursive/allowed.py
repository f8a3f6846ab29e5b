"""What the settings of a folder may name without ``--trust``.

Full names are listed, and compared letter by letter without looking them up. Rules are not enough: "all
of ``speechbrain``" would let pass what its modules import, such as
``speechbrain.utils.fetching.os.system``, and functions that fetch, unpickle or import. To construct what
is listed reads no file, fetches nothing, and calls only what it is given, which is listed as well. A
class of this package that a recipe names needs a line here.
"""

import inspect
from collections.abc import Iterator

import torch

_LISTED = {
    "": "len range",
    "sentencepiece": "SentencePieceProcessor",  # without arguments, which name files
    "speechbrain.augment.augmenter": "Augmenter",
    "speechbrain.augment.freq_domain": "SpectrogramDrop Warping",
    "speechbrain.augment.time_domain": "DropChunk DropFreq SpeedPerturb",
    "speechbrain.dataio.preprocess": "AudioNormalizer",
    "speechbrain.lobes.features": "Fbank MFCC",
    "speechbrain.lobes.models.convolution": "ConvolutionFrontEnd",
    "speechbrain.lobes.models.transformer.Conformer": "ConformerEncoder",
    "speechbrain.lobes.models.transformer.Transformer": "TransformerEncoder",
    "speechbrain.lobes.models.transformer.TransformerASR": "TransformerASR",
    "speechbrain.lobes.models.transformer.TransformerLM": "TransformerLM",
    "speechbrain.nnet.CNN": "Conv1d Conv2d",
    "speechbrain.nnet.activations": "Swish",
    "speechbrain.nnet.dropout": "Dropout2d",
    "speechbrain.nnet.linear": "Linear",
    "speechbrain.nnet.normalization": "BatchNorm1d BatchNorm2d LayerNorm",
    "speechbrain.nnet.schedulers": (
        "CyclicCosineScheduler CyclicLRScheduler IntervalScheduler InverseSquareRootScheduler "
        "LinearNoamScheduler LinearScheduler LinearWarmupScheduler NewBobScheduler NoamScheduler "
        "ReduceLROnPlateau StepScheduler TriStageLRSchedule WarmAndExpDecayLRSchedule "
        "WarmCoolDecayLRSchedule"
    ),
    "speechbrain.processing.features": "InputNormalization",
    "speechbrain.utils.dynamic_chunk_training": "DynChunkTrainConfig DynChunkTrainConfigRandomSampler",
    "speechbrain.utils.epoch_loop": "EpochCounter",
    "speechbrain_recursive.data.aishell": "Aishell1",
    "speechbrain_recursive.data.common_voice": "CommonVoice",
    "speechbrain_recursive.data.french": "normalize",
    "speechbrain_recursive.data.librispeech": "LibriSpeech",
    "speechbrain_recursive.data.own_data": "OwnData",
    "speechbrain_recursive.data.switchboard": "Switchboard",
    "speechbrain_recursive.data.tokenizers": "TokenizerSpec",
    "speechbrain_recursive.decoding.beam": "NgramBeam",
    "speechbrain_recursive.decoding.cif": "CifBeam",
    "speechbrain_recursive.decoding.greedy": "Greedy",
    "speechbrain_recursive.decoding.joint": "JointBeam",
    "speechbrain_recursive.inference.stock": "Encoder Opener Search Text greedy",
    "speechbrain_recursive.nn.bert": "masked_lm",
    "speechbrain_recursive.nn.cif": "Cif",
    "speechbrain_recursive.nn.cif_decoder": "CifDecoder CifHead",
    "speechbrain_recursive.nn.conditioning.depth": "Clock DepthEmbedding DepthMLP FiLM",
    "speechbrain_recursive.nn.conditioning.feedback": "PosteriorFeedback",
    "speechbrain_recursive.nn.conditioning.injection": "StateInjection",
    "speechbrain_recursive.nn.conditioning.lora": "LoopLoRA",
    "speechbrain_recursive.nn.conditioning.zero_token": "ZeroToken",
    "speechbrain_recursive.nn.embed": "FilterbankEmbedding",
    "speechbrain_recursive.nn.encoder": "RecursiveEncoder",
    "speechbrain_recursive.nn.frontend": "ConvSubsampling FrontEnd",
    "speechbrain_recursive.nn.halting": "Halting",
    "speechbrain_recursive.nn.heads": "CTCHead Seq2SeqHead",
    "speechbrain_recursive.nn.larm": "RopeEncoder conditioning",
    "speechbrain_recursive.nn.layer_dropout": "LayerDropout",
    "speechbrain_recursive.nn.layer_maps": "first kept random shared_mean stepwise uniform",
    "speechbrain_recursive.nn.layers": "stock_layers",
    "speechbrain_recursive.nn.loops": "ByBlock Growing LogNormalPoisson LoopPolicy Proportional past",
    "speechbrain_recursive.nn.model": "ASRModel",
    "speechbrain_recursive.nn.normalize": "FixedNormalization LocalFbank",
    "speechbrain_recursive.nn.pooling": "MaxPool",
    "speechbrain_recursive.nn.positions": "AbsolutePositions RelativePositions positions_for",
    "speechbrain_recursive.nn.pretrained": "Pretrained",
    "speechbrain_recursive.nn.schedule": (
        "bicycle cycle head_tail latent sequence stages standard unfold"
    ),
    "speechbrain_recursive.nn.ssl": "ssl_parts",
    "speechbrain_recursive.nn.transfer": "WarmStart",
    "speechbrain_recursive.objectives.cif": "Quantity",
    "speechbrain_recursive.objectives.ctc": "CTC",
    "speechbrain_recursive.objectives.distillation": "FeatureDistillation PosteriorDistillation",
    "speechbrain_recursive.objectives.foldable": "Foldable",
    "speechbrain_recursive.objectives.hierarchical": (
        "Contrastive Cosine HierarchicalDistillation Level SquaredError"
    ),
    "speechbrain_recursive.objectives.intermediate_ctc": "IntermediateCTC",
    "speechbrain_recursive.objectives.joint": "Joint",
    "speechbrain_recursive.objectives.masked_lm": "MaskedLM",
    "speechbrain_recursive.objectives.seq2seq": "Seq2Seq",
    "speechbrain_recursive.objectives.stages": "Stages",
    "speechbrain_recursive.training.asr": "ASR",
    "speechbrain_recursive.training.augment": "TimeMasks UtteranceSpeeds spec_augment",
    "speechbrain_recursive.training.bert_teacher": "BertTeacher",
    "speechbrain_recursive.training.language_model": "LanguageModeling",
    "speechbrain_recursive.training.masked_language_model": "MaskedLanguageModeling",
    "speechbrain_recursive.training.schedulers": "LinearDecay WarmupCosine",
    "speechbrain_recursive.training.teachers": "TrainedTeacher",
}
ATTRIBUTES = {"embed", "layers", "n_layers"}  # that references of recipes read, as <schedule.n_layers>


def _of_torch() -> Iterator[str]:
    """Layers, optimizers and types of PyTorch, by their public names."""
    for where, kind in ((torch.nn, torch.nn.Module), (torch.optim, torch.optim.Optimizer)):
        for name, value in vars(where).items():
            if inspect.isclass(value) and issubclass(value, kind):
                yield f"{where.__name__}.{name}"
    yield from (f"torch.{name}" for name, value in vars(torch).items() if isinstance(value, torch.dtype))


NAMES = frozenset(f"{m}.{name}".lstrip(".") for m, names in _LISTED.items() for name in names.split())
NAMES |= frozenset(_of_torch())
BARE = {"sentencepiece.SentencePieceProcessor"}
