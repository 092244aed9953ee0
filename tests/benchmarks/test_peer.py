"""The package soundstorm-pytorch gets the same work as ours.

Needs the dependency group `bench`, which `make bench` installs.
"""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from peer import Peer

from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.model import SoundStormConfig

pytestmark = pytest.mark.skipif(
    find_spec("soundstorm_pytorch") is None,
    reason="soundstorm-pytorch is not installed: make bench does",
)

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


def test_a_conditioned_peer_is_scored_on_the_masked_tokens_and_told_the_class() -> None:
    torch.manual_seed(0)
    peer = Peer(replace(TINY, num_classes=4), residual_streams=1, steps=2, conditioned=True).eval()
    codes, mask = torch.randint(TINY.codebook_size, (2, TINY.n_q, 40)), torch.rand(2, 40) < 0.5
    padding, level = torch.zeros(2, 40, dtype=torch.bool), torch.tensor([0, 2])
    padding[1, 30:] = True
    scored, other = (
        peer.masked_loss(Inputs(codes, torch.tensor(labels), padding), level, mask)
        for labels in ([0, 1], [2, 1])
    )
    assert len(scored.loss) == (mask & ~padding).sum()
    assert torch.equal(scored.level, level[scored.item])
    first = scored.item == 0
    assert not torch.allclose(scored.loss[first], other.loss[first])
    assert torch.equal(scored.loss[~first], other.loss[~first])
    hidden = codes.clone()
    hidden[1, 2, 30:], hidden[0, 1:] = (
        5,
        7,
    )  # padding, and levels that are finer than the one asked for
    again = peer.masked_loss(Inputs(hidden, torch.tensor([0, 1]), padding), level, mask)
    assert torch.allclose(again.loss, scored.loss)
    peer.train().loss(codes, torch.tensor([0, 1]), ~padding).backward()
    assert peer.model.semantic_token_emb.weight.grad[:2].any(dim=1).all()
