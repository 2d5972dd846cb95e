"""Networks to start from: parts of them can leave, they train, and they run in onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from netsuke.families import audio, sensors, text, vision
from netsuke.nets.capture import capture
from netsuke.nets.channels.branches import branches
from netsuke.nets.channels.groups import groups
from netsuke.nets.channels.surgery import cut
from netsuke.nets.onnx_out import export_onnx

MADE: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int]] = {
    "vision": (lambda: vision.MobileNet(10), lambda: torch.randn(2, 3, 32, 32), 6),
    "audio": (lambda: audio.DSCNN(10), lambda: torch.randn(2, 1, 62, 32), 4),
    "sensors": (lambda: sensors.Convolutions(14, 1), lambda: torch.randn(2, 14, 30), 3),
    "recurrent": (lambda: sensors.Recurrent(14, 1), lambda: torch.randn(2, 14, 30), 0),
    "text": (lambda: text.Transformer(100, 2, 16, 32), lambda: torch.randint(1, 100, (2, 16)), 8),
}


@pytest.mark.parametrize("name", MADE)
def test_it_can_get_narrower_and_runs(name: str, tmp_path: Path):
    make, draw, depth = MADE[name]
    torch.manual_seed(0)
    model = capture(make().eval(), draw(), name)
    known = groups(model)
    assert len(branches(model)) == depth
    half = {g.id: range(max(1, g.units // 2)) for g in known}
    network = cut(model, half, known)
    before, after = (sum(p.numel() for p in n.parameters()) for n in (model.network, network))
    assert after < 0.7 * before
    path = tmp_path / "m.onnx"
    path.write_bytes(
        export_onnx(model.then(network, model.lineage[0]) if model.lineage else model).content
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: model.example[0].numpy()})[0]
    with torch.no_grad():
        wanted = model.network.eval()(*model.example).numpy()
    assert np.allclose(given, wanted, atol=1e-3)


def test_places_without_a_token_change_nothing():
    torch.manual_seed(0)
    net = text.Transformer(100, 2, 16, 32).eval()
    tokens = torch.randint(1, 100, (1, 16))
    tokens[:, 8:] = 0
    with torch.no_grad():
        before = net(tokens)
        net.tokens.weight[0] += torch.randn(32)
        assert torch.allclose(net(tokens), before, atol=1e-5)
        net.tokens.weight[tokens[0, 0]] += torch.randn(32)
        assert not torch.allclose(net(tokens), before, atol=1e-2)
