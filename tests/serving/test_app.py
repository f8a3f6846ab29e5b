"""OpenAI's client against a real server."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from openai.types.audio import TranscriptionVerbose


def ask(client, path, form="verbose_json", **more):
    with path.open("rb") as file:
        return client.audio.transcriptions.create(
            model="tiny", file=file, response_format=form, extra_body=more
        )


def test_try(client, asr, speech):
    found = ask(client, speech[0], loops=2)
    print(found.model_dump_json(indent=1))
    TranscriptionVerbose.model_validate(found.model_dump())
    assert found.text == asr.transcribe_file(speech[0], loops=2)
