"""The front-end counts what it gives out, and each row is what it is alone."""

import math

import pytest
import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.nnet.CNN import Conv1d

from speechbrain_recursive.nn.frontend import ConvSubsampling, FrontEnd
from speechbrain_recursive.nn.padding import pad_mask


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


class TestConvSubsampling:
    def test_a_batch_is_its_rows_alone(self):
        torch.manual_seed(0)
        convs = ConvSubsampling(3)
        for parameter in convs.parameters():
            torch.nn.init.normal_(parameter)
        counts = torch.arange(1, 18)
        x = torch.randn(17, 17, 10).masked_fill(pad_mask(counts, 17)[..., None], 9.0)
        together, frames = convs(x, counts)
        assert frames.tolist() == [math.ceil(n / 4) for n in counts.tolist()]
        for row, count in enumerate(counts.tolist()):
            alone, own = convs(x[row : row + 1, :count], counts[row : row + 1])
            assert own == frames[row] == alone.shape[1]
            torch.testing.assert_close(together[row, : int(own)], alone[0], atol=1e-5, rtol=0)

    def test_bf16_autocast(self):
        torch.manual_seed(0)
        convs, x = ConvSubsampling(3), torch.randn(2, 17, 10)
        counts = torch.tensor([17, 9])
        with torch.autocast("cpu", torch.bfloat16):
            seen, frames = convs(x, counts)
        assert frames.tolist() == [5, 3]
        torch.testing.assert_close(seen.float(), convs(x, counts)[0], atol=0.02, rtol=0.02)
