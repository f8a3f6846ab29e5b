"""An n-gram over tokens as a scorer of SpeechBrain's beam searches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from speechbrain.decoders.scorer import BaseScorerInterface

from speechbrain_recursive.decoding.lm import load_ngram

NEVER = -1e20  # SpeechBrain's score of what is not scored


class KenLMScorer(BaseScorerInterface):
    """The scores of SpeechBrain's ``KenLMScorer`` without the package ``kenlm``.

    ``ScorerBuilder`` finds weights by the name of the class, hence this name. As in the original, the
    first token is scored without context. Unlike there, all candidates of a step are scored at once.

    Arguments
    ---------
    path : str or Path
        An ARPA file over tokens.
    words : sequence of str
        The n-gram's word of each token.
    """

    def __init__(self, path: str | Path, words: Sequence[str]):
        self.ngram = load_ngram(path)
        self.words = self.ngram.ids(words)

    def reset_mem(self, x: torch.Tensor, enc_lens: torch.Tensor) -> None:
        """Start a batch."""

    def score(
        self, inp_tokens: torch.Tensor, memory: np.ndarray | None, candidates: torch.Tensor, attn: None
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Score candidates [N, K] of the next token.

        Arguments
        ---------
        inp_tokens : torch.Tensor
            The last token of each hypothesis [N].
        memory : np.ndarray or None
            The context of each hypothesis [N]; None at the first step.
        candidates : torch.Tensor
            Tokens [N, K].
        attn : None
            Not used.

        Returns
        -------
        torch.Tensor, np.ndarray
            Natural log-probabilities [N, V], and the contexts [N, V] after each token.
        """
        tokens = candidates.cpu().numpy()
        before = np.full(len(tokens), self.ngram.empty) if memory is None else memory
        found = self.ngram.score(np.repeat(before, tokens.shape[1]), self.words[tokens].reshape(-1))
        scores = np.full((len(tokens), len(self.words)), NEVER)
        contexts = np.full(scores.shape, self.ngram.empty)
        for whole, part in zip((scores, contexts), found, strict=True):
            np.put_along_axis(whole, tokens, part.reshape(tokens.shape), axis=1)
        return torch.from_numpy(scores).float().to(inp_tokens.device), contexts

    def permute_mem(self, memory: np.ndarray, index: torch.Tensor) -> np.ndarray:
        """Select the contexts of the hypotheses that go on.

        Arguments
        ---------
        memory : np.ndarray
            Contexts [N, V] of B utterances with N / B hypotheses each.
        index : torch.Tensor
            Hypothesis times V plus token, of each hypothesis that goes on [B, N / B].

        Returns
        -------
        np.ndarray
            Contexts [N].
        """
        by_utterance = memory.reshape(len(index), -1)
        return np.take_along_axis(by_utterance, index.cpu().numpy(), axis=1).reshape(-1)
