"""The front-end counts what it gives out, and each row is what it is alone."""

import pytest
import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.nnet.CNN import Conv1d

from speechbrain_recursive.nn.frontend import FrontEnd


@pytest.mark.parametrize(("module", "kernel"), [(None, 3), (None, 5), (Conv1d, 5)])
def test_counts_and_rows(module, kernel):
    torch.manual_seed(0)
    kwargs = {} if module is None else {"conv_module": module}
    front = FrontEnd(
        ConvolutionFrontEnd(
            (None, None, 12), 2, 1, [4, 4], [kernel] * 2, [2, 2], [1, 1], [False] * 2, **kwargs
        )
    ).eval()
    frames = torch.tensor([41, 40, 39, 38, 10, 2, 1])
    features = torch.randn(len(frames), 41, 12)
    with torch.no_grad():
        batched, counts = front(features, frames)
        for row, n in enumerate(frames.tolist()):
            alone, count = front(features[row : row + 1, :n], frames[row : row + 1])
            assert alone.shape[1] == count == counts[row]
            torch.testing.assert_close(batched[row, : counts[row]], alone[0])
