"""That the peer is given the same work as ours; needs the dependency group `bench`, which `make bench` installs."""

from importlib.util import find_spec

import pytest
import torch
from peer import Peer

from ssenv_core.soundstorm import SoundStormConfig

pytestmark = pytest.mark.skipif(find_spec("soundstorm_pytorch") is None, reason="soundstorm-pytorch is not installed: make bench does")

TINY = SoundStormConfig(n_q=3, codebook_size=16, dim=16, depth=1, heads=2, kernel_size=3)


@pytest.mark.parametrize("residual_streams", [1, 4])
def test_the_peers_loss_is_of_the_hidden_tokens_of_one_level(residual_streams: int) -> None:
    peer, seen = Peer(TINY, residual_streams, steps=2), []

    def remember(net: torch.nn.Module, inputs: tuple[torch.Tensor], logits: torch.Tensor) -> None:
        logits.retain_grad()
        seen.append((inputs[0], logits))

    peer.net.register_forward_hook(remember)
    for _ in range(20):
        peer.loss(torch.randint(TINY.codebook_size, (2, TINY.n_q, 40))).backward()
        tokens, logits = seen.pop()
        hidden = (tokens == TINY.mask_token).unflatten(1, (40, TINY.n_q))
        targets = logits.grad.any(dim=-1).unflatten(1, (40, TINY.n_q))
        level = hidden.any(dim=(0, 1)).int().argmax()  # all finer levels are hidden, too
        assert torch.equal(targets[..., level], hidden[..., level])
        assert targets.sum() == hidden[..., level].sum() > 0


def test_the_peer_generates_the_whole_clip() -> None:
    codes = Peer(TINY, residual_streams=4, steps=2).generate(clips=2, frames=40)
    assert codes.shape == (2, TINY.n_q, 40)
    assert ((codes >= 0) & (codes < TINY.codebook_size)).all()
