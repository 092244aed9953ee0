"""What our SoundStorm and soundstorm-pytorch learn in the same steps.

Both are trained on the same clips in the same order, with the same optimizer, rate and weight
average, conditioned on the class, and scored on the masked tokens of `validation_loss`. Writes
cross-entropy (nat) and accuracy per level.

Each side draws masks, levels and prompts in its own way. Ours trains with dropout, in the precision
it picks for the device, and starts from the codec's codebooks; the package trains four residual
streams in fp32. On two cores a step of the paper's batch takes seconds.
"""

import os
from pathlib import Path

import click
import torch
from peer import Peer
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.files import sha256_file, write_json
from ssenv_core.base.progress import Progress
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.base.training_loop import one_cycle, warmed_up_average
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import load_tokens_file
from ssenv_core.generator.training import TrainSettings, train
from ssenv_core.generator.validation import Validation, validation_loss
from ssenv_core.soundstorm.model import SoundStormConfig


def train_peer(config: SoundStormConfig, clips: Clips, settings: TrainSettings) -> AveragedModel:
    """As `training.train` trains ours, on the CPU."""
    torch.manual_seed(settings.seed)
    peer = Peer(config, residual_streams=4, steps=12, conditioned=True)
    average = (
        AveragedModel(peer, multi_avg_fn=warmed_up_average(settings.ema_decay))
        .eval()
        .requires_grad_(False)
    )
    epoch_steps = len(clips) // settings.batch_size
    optimizer = torch.optim.Adam(peer.parameters(), settings.learning_rate, fused=True)
    scheduler = one_cycle(
        optimizer, settings.learning_rate, epoch_steps * settings.epochs, settings.warmup
    )
    with Progress(epoch_steps * settings.epochs, "train the peer", "step") as progress:
        for epoch in range(settings.epochs):
            order = torch.randperm(
                len(clips),
                generator=torch.Generator().manual_seed(
                    derive_seed(settings.seed, epoch, Purpose.ORDER)
                ),
            )
            for index in order.split(settings.batch_size)[:epoch_steps]:
                batch = clips.batch(index, settings.crop_frames)
                loss = peer.loss(batch.codes, batch.labels, batch.active)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(peer.parameters(), settings.grad_clip)
                optimizer.step()
                average.update_parameters(peer)
                scheduler.step()
                progress.update(note=f"loss {loss.item():.3f}")
    return average


@click.command()
@click.argument("tokens", type=click.Path(exists=True, path_type=Path))
@click.option("--fold", default=1, help="Held out, and scored.")
@click.option("--epochs", default=4)
@click.option("--learning-rate", default=1e-4)
@click.option(
    "--crop-frames",
    type=int,
    help="Of each clip, from a random start; the whole clip unless given.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("outputs/cross_entropy.json")
)
def main(
    tokens: Path,
    fold: int,
    epochs: int,
    learning_rate: float,
    crop_frames: int | None,
    output: Path,
) -> None:
    """Train both on the clips of TOKENS that are not of the held-out fold."""
    torch.set_num_threads(os.cpu_count())
    found = load_tokens_file(tokens)
    training, heldout = found.without(fold), found.where([fold])
    config = SoundStormConfig(
        n_q=found.codes.shape[1],
        codebook_size=found.format.codebook_size,
        num_classes=len(found.class_names),
        controls=False,
    )
    settings = TrainSettings(
        epochs=epochs, learning_rate=learning_rate, crop_frames=crop_frames, label_dropout=0.0
    )
    codebooks = found.format.load_codec().codebooks
    scores: dict[str, Validation] = {}
    ours = train(
        config,
        training,
        heldout,
        settings,
        output.with_name("cross_entropy.safetensors"),
        "cpu",
        codebooks=codebooks,
    )
    scores["ssenv"] = Validation(ours.level_loss, ours.level_accuracy)
    average = train_peer(config, Clips(training, "cpu"), settings)
    scores["soundstorm-pytorch"] = validation_loss(
        average.module.eval(), heldout, seed=settings.seed, device="cpu"
    )
    about = {
        "tokens_sha256": sha256_file(tokens),
        "fold": fold,
        "steps": ours.generator.training["steps"],
    }
    about |= {"learning_rate": learning_rate, "crop_frames": crop_frames}
    click.echo(
        write_json(output, about | {name: score._asdict() for name, score in scores.items()})
    )
    for name, score in scores.items():
        losses = score.level_loss
        each = ", ".join(f"{loss:.3f}" for loss in losses)
        click.echo(f"{name}: {sum(losses) / len(losses):.3f} nat over all levels, {each}")


if __name__ == "__main__":
    main()
