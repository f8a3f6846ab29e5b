"""How the test sets of a corpus are scored, where not by plain words."""

from pathlib import Path

from speechbrain_recursive.analysis.nist import NistScorer, Place
from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.glm import GLM
from speechbrain_recursive.data.manifest import read_manifest


def scorers(corpus: Corpus, folder: Path) -> dict[str, NistScorer]:
    """Make the scorers of a corpus that is scored as NIST does.

    Arguments
    ---------
    corpus : Corpus
        Any corpus; only one that sets ``nist`` has scorers.
    folder : Path
        The folder of its manifests.

    Returns
    -------
    dict
        By test split; empty for other corpora, whose words are counted as they are.

    Raises
    ------
    UserError
        If rules or references do not parse.
    """
    return {split: _scorer(folder, split) for split in corpus.test_splits} if corpus.nist else {}


def _scorer(folder, split):
    rows = read_manifest(folder / f"{split}.csv")
    places = {
        uid: Place(
            Path(row["wav"]).stem,
            "AB"[row["channel"] or 0],
            row["start"] or 0.0,
            row["duration"] if row["stop"] is None else row["stop"],
        )
        for uid, row in rows.items()
    }
    path = folder / f"{split}.glm"
    glm = path if path.is_file() else None
    scorer = NistScorer(places, GLM(glm), glm)
    scorer.check({uid: row["wrd"] for uid, row in rows.items()})
    return scorer
