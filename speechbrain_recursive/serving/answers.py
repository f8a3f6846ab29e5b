"""Answers in the formats of OpenAI's API for transcription."""

import math
import zlib
from collections.abc import Collection
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from speechbrain_recursive.data.pieces import Pieces
from speechbrain_recursive.inference.archive import FORMATS
from speechbrain_recursive.inference.recording import Transcript
from speechbrain_recursive.inference.subtitles import groups
from speechbrain_recursive.serving.service import Answer, Service

TEXTS = {"text": "txt", "srt": "srt", "vtt": "vtt"}  # our names of formats that are no JSON
LEAST = 1e-10  # confidence, of which there is a logarithm


def respond(
    service: Service,
    answer: Answer,
    form: str = "json",
    granularities: Collection[str] = ("segment",),
    language: str | None = None,
) -> Response:
    """The response with an answer.

    Arguments
    ---------
    service : Service
        What answered.
    answer : Answer
        A transcript and what it took.
    form : str
        ``json``, ``verbose_json``, ``text``, ``srt`` or ``vtt``.
    granularities : collection of str
        Which of ``segment`` and ``word`` the verbose format has.
    language : str, optional
        What the client says that the language is.

    Returns
    -------
    starlette.responses.Response
    """
    found = answer.found.transcript
    if form in TEXTS:
        text = FORMATS[TEXTS[form]](found, service.asr.separator)
        return PlainTextResponse(text, media_type="text/vtt" if form == "vtt" else "text/plain")
    body = {"text": found.text, "usage": {"type": "duration", "seconds": round(found.seconds, 3)}}
    if form == "verbose_json":
        language = language or service.language or "unknown"
        body |= {"task": "transcribe", "language": language, "duration": round(found.seconds, 3)}
        if "segment" in granularities:
            body["segments"] = segments(found, service.asr.separator, service.asr.tokenizer)
        if "word" in granularities:
            body["words"] = found.as_dict()["words"]
        body |= _computed(service, answer)
    return JSONResponse(body)


def segments(found: Transcript, separator: str, tokenizer: Pieces) -> list[dict[str, Any]]:
    """The cues of a transcript as Whisper's segments.

    Arguments
    ---------
    found : Transcript
        With its words.
    separator : str
        Between words.
    tokenizer : CharacterTokenizer or SentencePieceTokenizer
        Of the model.

    Returns
    -------
    list of dict
        ``avg_logprob`` is the mean over words. Nothing here estimates ``no_speech_prob``, which is 0.
    """
    made = []
    for number, words in enumerate(groups(found.words, separator)):
        text = separator.join(word.text for word in words)
        logs = [math.log(max(word.confidence, LEAST)) for word in words]
        made.append(
            {
                "id": number,
                "seek": round(100 * words[0].start),
                "start": round(words[0].start, 3),
                "end": round(words[-1].end, 3),
                "text": text,
                "tokens": tokenizer.encode(text),
                "temperature": 0.0,
                "avg_logprob": round(sum(logs) / len(logs), 4),
                "compression_ratio": round(len(text.encode()) / len(zlib.compress(text.encode())), 4),
                "no_speech_prob": 0.0,
            }
        )
    return made


def _computed(service, answer):
    """What is not in OpenAI's format: the depth, and what it took."""
    seconds = answer.found.transcript.seconds
    return {
        "model": service.name,
        "schedule": str(answer.depth.schedule),
        "loops": answer.depth.loops,
        "depth": len(answer.depth),
        "decoder": answer.found.decoder,
        "multiply_adds": round(answer.multiply_adds_per_second * seconds),
        "processing_seconds": round(answer.found.seconds, 4),
        "real_time_factor": round(answer.found.seconds / seconds, 5),
    }
