r"""Train the demo checkpoint from nothing, on pictures that are drawn while it learns.

About an hour of one CPU thread. Every step's pictures follow from its number alone and the state is
saved every two minutes, so the same command goes on where it was interrupted and ends the same.

    OMP_NUM_THREADS=1 PYTHONPATH=. python scripts/train_demo_checkpoint.py \
        --state /tmp/demo-state --out data/demo/checkpoint
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from demo_captions import caption, words
from demo_drawing import BACKGROUNDS, COLORS, SCALES, SHAPES, SIZE, Placement, shape_mask
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lora_pipeline.training.diffusion.patch_codec import PatchAutoencoder

SEED = 20240
BATCH = 24
PEAK_RATE = 8e-4
WARMUP_STEPS = 200
EMA_DECAY = 0.9995
SAVE_EVERY_S = 120
SHEET_EVERY_SAVES = 3
OFFSETS = (0, 0, 0, 0, 0, 0, 0, 1, -1, 2, -2)
SIZES = ("normal",) * 6 + ("small", "large")


class PictureMaker:
    """Makes batches of flat icons with captions; the same seed gives the same batch."""

    def __init__(self) -> None:
        self._masks: dict[tuple[str, str, int, int], Tensor] = {}
        self._pairs = [
            (color, background)
            for color, ink in COLORS.items()
            for background, paper in BACKGROUNDS.items()
            if math.dist(ink, paper) > 80
        ]

    def batch(self, count: int, seed: int) -> tuple[Tensor, list[str]]:
        """Return images of shape (count, 3, 64, 64), from -1 to 1, and their captions."""
        random = Random(seed)
        made = [self._one(random) for _ in range(count)]
        return torch.stack([image for image, _ in made]), [text for _, text in made]

    def _one(self, random: Random) -> tuple[Tensor, str]:
        shape, size = random.choice(list(SHAPES)), random.choice(SIZES)
        color, background = random.choice(self._pairs)
        if random.random() < 0.25:
            background = "white"
            color = random.choice([ink for ink, paper in self._pairs if paper == "white"])
        mask = self._mask(shape, size, random.choice(OFFSETS), random.choice(OFFSETS))
        ink, paper = (
            torch.tensor(rgb)[:, None, None] / 127.5 - 1
            for rgb in (COLORS[color], BACKGROUNDS[background])
        )
        return paper + (ink - paper) * mask, caption(size, color, shape, background, random)

    def _mask(self, shape: str, size: str, dx: int, dy: int) -> Tensor:
        key = (shape, size, dx, dy)
        if key not in self._masks:
            drawn = shape_mask(shape, Placement(dx, dy, SCALES[size]))
            self._masks[key] = torch.tensor(list(drawn.tobytes())).view(1, SIZE, SIZE) / 255
        return self._masks[key]


def make_codec(pictures: PictureMaker) -> PatchAutoencoder:
    """Fit the codec to flat icons."""
    flat, _ = pictures.batch(4000, SEED)
    codec: PatchAutoencoder = PatchAutoencoder.fitted(flat, latent_channels=64)
    lost = functional.mse_loss(codec(flat).sample, flat)
    factor = codec.config.scaling_factor
    print(f"codec: {10 * math.log10(4 / float(lost)):.1f} dB on flat icons, factor {factor}")
    return codec


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Merge letters until every known word is one token, and write a CLIP tokenizer's files."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    pattern = Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    teacher = trainers.BpeTrainer(
        vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator([" ".join(words())], teacher)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(pair) for pair in merges),
    ]
    known = list(dict.fromkeys([*known, "<|startoftext|>", "<|endoftext|>"]))
    vocabulary = {token: number for number, token in enumerate(known)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    split = [word for word in words() if len(tokenizer(word).input_ids) != 3]
    if split:
        raise SystemExit(f"these words are not single tokens: {split}")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    # transformers 4 reads these two.
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8"
    )
    return tokenizer


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the untrained text encoder."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        projection_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_unet(channels: int) -> UNet2DConditionModel:
    """Return the untrained UNet."""
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=64,
        norm_num_groups=16,
    )


def make_scheduler() -> DDIMScheduler:
    """Return the noise schedule; it ends in pure noise, so that no background shines through."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


@dataclass
class Learner:
    """The parts that learn, with what it takes to go on after an interruption."""

    pipeline: StableDiffusionPipeline
    pictures: PictureMaker
    total_steps: int
    step: int = 0

    def __post_init__(self) -> None:
        self.parts = torch.nn.ModuleDict(
            {"unet": self.pipeline.unet, "text_encoder": self.pipeline.text_encoder}
        )
        self.parts.requires_grad_()
        self.parts.train()
        self.average = {
            name: value.detach().clone() for name, value in self.parts.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(
            self.parts.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.noise_levels: Tensor = self.pipeline.scheduler.alphas_cumprod

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / WARMUP_STEPS)
        done = self.step / self.total_steps
        return PEAK_RATE * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)

    def advance(self) -> float:
        """Take one step and return its loss."""
        draws = torch.Generator().manual_seed(SEED + self.step)
        images, captions = self.pictures.batch(BATCH, SEED * 1000 + self.step)
        codec = self.pipeline.vae
        clean = codec.encode(images).latent_dist.sample() * codec.config.scaling_factor
        # Half of the steps look at middle noise, where shapes are decided.
        even = torch.rand(BATCH, generator=draws)
        middle = torch.sigmoid(torch.randn(BATCH, generator=draws) + 0.3)
        chosen = torch.where(torch.arange(BATCH) % 2 == 0, even, middle)
        times = (chosen * 1000).long().clamp(0, 999)
        noise = torch.randn(clean.shape, generator=draws)
        kept = self.noise_levels[times][:, None, None, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        predicted = self.pipeline.unet(noisy, times, self._encoded(captions)).sample
        weights = (1 / (1 - kept).clamp_min(1e-4)).clamp_max(5.0)
        loss = (weights * (predicted - clean) ** 2).mean()
        self._descend(loss)
        return float(loss.detach())

    def _encoded(self, captions: list[str]) -> Tensor:
        tokens = self.pipeline.tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        )
        encoded: Tensor = self.pipeline.text_encoder(tokens.input_ids)[0]
        return encoded

    def _descend(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.parts.state_dict().items():
                self.average[name].lerp_(value, 1 - decay) if value.is_floating_point() else None

    def save(self, path: Path) -> None:
        """Save everything that the next steps depend on."""
        state = {
            "step": self.step,
            "parts": self.parts.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True)
        self.step, self.average = state["step"], state["average"]
        self.parts.load_state_dict(state["parts"])
        self.optimizer.load_state_dict(state["optimizer"])


def averaged_pipeline(learner: Learner) -> StableDiffusionPipeline:
    """Return a pipeline of its own with the averaged weights."""
    trained = learner.pipeline
    unet = UNet2DConditionModel.from_config(trained.unet.config)
    text_encoder = CLIPTextModel(trained.text_encoder.config)
    parts = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    parts.load_state_dict(learner.average)
    parts.eval()
    codec = PatchAutoencoder.from_config(trained.vae.config)
    codec.load_state_dict(trained.vae.state_dict())
    return assembled(codec, text_encoder, trained.tokenizer, unet)


def assembled(
    codec: PatchAutoencoder,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """Put the parts together as an ordinary pipeline."""
    pipeline = StableDiffusionPipeline(
        vae=codec,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_checkpoint(pipeline: StableDiffusionPipeline, tokenizer_files: Path, out: Path) -> None:
    """Save the pipeline in half precision, replacing the folder's files one by one."""
    pipeline.to(torch.float16)
    fresh = out.with_name(out.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh, safe_serialization=True)
    shutil.copytree(tokenizer_files, fresh / "tokenizer", dirs_exist_ok=True)
    for path in sorted(fresh.rglob("*")):
        if path.is_file():
            target = out / path.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(fresh)


def sheet_prompts() -> list[str]:
    """Return the prompts of the sample sheet: every shape as a sentence and as tags."""
    colors, papers = list(COLORS), list(BACKGROUNDS)
    prompts = []
    for number, shape in enumerate(SHAPES):
        color, paper = colors[number * 5 % 12], papers[number % 6]
        if math.dist(COLORS[color], BACKGROUNDS[paper]) <= 80:
            paper = papers[(number + 3) % 6]
        prompts.append(f"a {color} {shape} icon on a {paper} background")
        prompts.append(f"icon, {shape}, {colors[(number * 7 + 3) % 11]}")
    return prompts


def write_sheet(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Draw the sample sheet, eight pictures in a row."""
    prompts = sheet_prompts()
    draws = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
    images = pipeline(prompts, num_inference_steps=20, guidance_scale=3.0, generator=draws).images
    sheet = Image.new(
        "RGB", (8 * (SIZE + 4), math.ceil(len(images) / 8) * (SIZE + 4)), (255, 0, 255)
    )
    for number, image in enumerate(images):
        sheet.paste(image, (number % 8 * (SIZE + 4), number // 8 * (SIZE + 4)))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path)


def train(learner: Learner, state: Path, interim: Path | None) -> None:
    """Run to the last step, saving the state, a sheet and an interim checkpoint as time passes."""
    saved_at, saves, losses = time.monotonic(), 0, []
    while learner.step < learner.total_steps:
        losses.append(learner.advance())
        last = learner.step == learner.total_steps
        if not last and time.monotonic() - saved_at < SAVE_EVERY_S:
            continue
        learner.save(state / "state.pt")
        loss, spent = sum(losses) / len(losses), time.process_time()
        print(f"step {learner.step} loss {loss:.4f} cpu {spent:.0f} s", flush=True)
        if last or saves % SHEET_EVERY_SAVES == 0:
            pipeline = averaged_pipeline(learner)
            write_sheet(pipeline, state / f"sheet-{learner.step:06}.png")
            if interim is not None:
                write_checkpoint(pipeline, state / "tokenizer", interim)
        saved_at, saves, losses = time.monotonic(), saves + 1, []


def main() -> None:
    """Train, or go on training, and write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--state",
        type=Path,
        required=True,
        help="folder for the training state, outside the repository",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished checkpoint")
    parser.add_argument(
        "--interim", type=Path, help="folder for an unfinished checkpoint, refreshed while training"
    )
    parser.add_argument("--steps", type=int, default=7000)
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    pictures = PictureMaker()
    codec = make_codec(pictures)
    tokenizer = make_tokenizer(arguments.state / "tokenizer")
    unet, text_encoder = make_unet(codec.config.latent_channels), make_text_encoder(tokenizer)
    learner = Learner(assembled(codec, text_encoder, tokenizer, unet), pictures, arguments.steps)
    counts = [sum(value.numel() for value in part.parameters()) for part in (unet, text_encoder)]
    print(
        f"{len(tokenizer)} tokens, UNet {counts[0]}, text encoder {counts[1]} parameters",
        flush=True,
    )
    if (arguments.state / "state.pt").exists():
        learner.restore(arguments.state / "state.pt")
    train(learner, arguments.state, arguments.interim)
    write_checkpoint(averaged_pipeline(learner), arguments.state / "tokenizer", arguments.out)


if __name__ == "__main__":
    main()
