"""The keys of an option file: type, default, meaning and [unit] of each.

A field's `title`, if there is one, is its type in words for the error texts.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from errors import UserError


class OptionsError(UserError):
    """What is wrong with the options: one line a mistake, `file:line: key: what was expected`."""


class Place(NamedTuple):
    """Where an option was written: a line to sort by, and the words for a person."""

    line: int
    text: str


class Mistake(NamedTuple):
    """One mistake, and as a text the line that reports it."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place.text, self.key, self.message) if part)


@dataclass
class Source:
    """Where every option of one object was written.

    path: the option file, as the user named it.
    places: dotted key -> its place, `file:line` or `--set key=value`.
    mistakes: what was wrong with the text itself, such as a key that is given twice.
    """

    # Two sources always compare equal: options with the same values are the same options.
    path: str = field(default="options", compare=False)
    places: dict[str, Place] = field(default_factory=dict, compare=False)
    mistakes: list[Mistake] = field(default_factory=list, compare=False)

    def mistake(self, key: str, message: str) -> Mistake:
        """A mistake at `key`, placed at the nearest section around it that was written."""
        written = key
        while written and written not in self.places:
            written = written.rpartition(".")[0]
        return Mistake(self.places.get(written, Place(1, f"{self.path}:1")), key, message)


class Section(BaseModel):
    """A part of an option file: unknown keys and wrong types are mistakes, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Network(Section):
    """Which network, and the keyword arguments of its constructor."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, description="the network's name in models.MODELS")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but `type`, as the file gave it; see `check_arguments`."""
        return dict(self.model_extra or {})


FOLDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # numpy takes no larger seed


class Pictures(Section):
    """Where pictures come from, and how they are brought to one size."""

    dataset: Text | None = Field(
        None, description="a preset such as div2k: its folder, crop and resize are the defaults"
    )
    folder: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        None,
        title="a folder or a list of folders",
        description="folders (searched recursively), .txt lists, samples:train or samples:test",
    )
    crop: int | None = Field(None, ge=1, description="side of the square that is cut out [px]")
    resize: int | None = Field(None, ge=1, description="short side before the crop [px]")
    small: Literal["error", "skip", "enlarge"] | None = Field(
        None, description="pictures smaller than the crop; null: the preset's, or error"
    )
    grey: bool = Field(False, description="turn every picture to grey: three equal channels, BT.601 luma")

    @property
    def folders(self) -> list[str]:
        """`folder` as a list, whichever way it was written; empty where the preset decides."""
        return [self.folder] if isinstance(self.folder, str) else list(self.folder or ())

    @model_validator(mode="after")
    def _has_a_source(self):
        if self.dataset is None and self.folder is None and getattr(self, "groups_file", None) is None:
            raise UserError("give dataset (a preset such as div2k), folder, or both")
        return self


class TrainPictures(Pictures):
    """Training pictures: groups are drawn anew in every step."""

    flip: bool = Field(True, description="mirror at random")
    rotate: bool = Field(True, description="turn by 0, 90, 180 or 270 degrees at random")
    workers: int = Field(2, ge=0, description="processes that read pictures; 0: the main one")
    cache: Literal["none", "ram", "packed"] = Field(
        "none",
        description="ram: keep decoded pictures in memory; packed: in one file beside them, made once",
    )


class GroupPictures(Pictures):
    """Pictures in fixed groups of one cover and N secrets, for validation and test."""

    name: str | None = Field(
        None,
        pattern=FOLDER_NAME,
        title="letters, digits, '.', '_' or '-'",
        description="folder of the results; null: from the source",
    )
    groups: int | None = Field(
        None, ge=1, description="how many groups; null: as many disjoint ones as there are"
    )
    grouping: Literal["random", "sorted"] = Field("random", description="order of the pictures")
    stride: int | None = Field(
        None, ge=1, description="sorted: group g starts at picture g*stride; null: N+1 [pictures]"
    )
    groups_file: Text | None = Field(None, description="CSV list of groups, the cover first")
    seed: Seed = Field(0, description="seed of the random grouping")


class TrainData(Section):
    """The pictures of one training run."""

    train: TrainPictures = Field(description="pictures to train on")
    # Not named `validate` in Python: BaseModel has an attribute of that name.
    validation: GroupPictures | None = Field(
        None, alias="validate", description="groups to validate on; null: no validation"
    )


class TestData(Section):
    """The data sets of one test."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    test: list[GroupPictures] = Field(min_length=1, description="the data sets, one entry each")


class Attack(Section):
    """Something that happens to a stego on its way, and how strongly."""

    model_config = ConfigDict(extra="allow")

    # The names and arguments of channel.attacks (a test compares them: leaves do not import each other).
    type: Literal[
        "none",
        "mean",
        "gaussian",
        "sharpen",
        "noise",
        "brightness",
        "flip",
        "jpeg",
        "webp",
        "avif",
        "resize",
        "crop",
    ] = Field(description="the attack; its strength (docs/evaluation.md) stands beside it")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything but the declared keys, as the file gave it; see `check_arguments`."""
        return dict(self.model_extra or {})


class TrainAttack(Attack):
    """An attack that a training step may draw: a strength may be a range [low, high]."""

    weight: float | None = Field(
        None,
        gt=0,
        description="how often it is drawn, relative to the others; of a chain: in its first attack; null: 1",
    )


def _form(value: Any) -> str:
    return "chain" if isinstance(value, list) else "attack"


# What stands in a list of attacks: one attack, or a chain of them.
TestEntry = Annotated[
    Annotated[Attack, Tag("attack")] | Annotated[list[Attack], Field(min_length=1), Tag("chain")],
    Discriminator(_form),
]
TrainEntry = Annotated[
    Annotated[TrainAttack, Tag("attack")] | Annotated[list[TrainAttack], Field(min_length=1), Tag("chain")],
    Discriminator(_form),
]
ATTACKS = "a list of attacks and of chains, which are lists of attacks"


class Phase(Section):
    """A stretch of the training with its own frozen parts and loss weights."""

    name: Text = Field(description="name in the log")
    share: float = Field(gt=0, le=1, description="length of the phase [fraction of train.steps]")
    freeze: list[Text] = Field([], description="parts of the network that are not trained")
    lr_scale: float = Field(1.0, gt=0, description="factor on the learning rate")
    loss: dict[str, Any] = Field({}, description="overrides of the loss section")
    channel: list[TrainEntry] | None = Field(
        None, title=ATTACKS, description="in place of train.channel; []: none; null: train.channel"
    )


class Train(Section):
    """The optimiser, its schedule and what is written on the way."""

    steps: int = Field(ge=1, description="how many optimiser steps the run takes [steps]")
    minutes: float | None = Field(
        None,
        gt=0,
        description="time after which the run ends, its schedule and phases with it; null: none [min]",
    )
    batch_size: int = Field(1, ge=1, description="groups in one optimiser step [groups]")
    accumulate: int = Field(
        1,
        ge=1,
        description="passes that a step's groups are split into, to save memory; it divides batch_size",
    )
    checkpoint_blocks: bool = Field(
        False,
        description="keep only the inputs of each block and compute the rest again in the backward pass: "
        "several times less memory, a third more time, the same weights",
    )
    start_from: Text | None = Field(
        None,
        description="weights of the same method to start from (a run, a shipped name, a file): what the "
        "network has beyond them, such as further blocks, starts fresh; null: all does",
    )
    optimizer: Literal["adam", "muon"] = Field(
        "adam",
        description="muon: orthogonalised momentum for the convolutions' kernels, Adam for the rest; it "
        "learns several times faster",
    )
    lr: float = Field(2e-4, gt=0, description="highest learning rate of Adam")
    muon_lr: float = Field(0.01, gt=0, description="highest learning rate of Muon")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="decay of Adam's two running means"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of Adam; Muon has none")
    schedule: Literal["cosine", "halving", "constant"] = Field(
        "cosine", description="how the learning rate falls"
    )
    halve_every: int = Field(10000, ge=1, description="halving: time between halvings [steps]")
    warmup: int = Field(0, ge=0, description="linear rise of the rate at the start [steps]")
    final_lr: float = Field(0.01, ge=0, le=1, description="cosine: rate at the end [share of lr]")
    grad_clip: float = Field(10.0, ge=0, description="largest gradient norm; 0: off")
    checkpoint_every: int = Field(1000, ge=1, description="time between checkpoints [steps]")
    validate_every: int = Field(1000, ge=1, description="time between validations [steps]")
    log_every: int = Field(50, ge=1, description="time between lines in the log [steps]")
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32", description="arithmetic of the network; auto: bf16 where the device has it, else fp32"
    )
    ema: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="decay of a running mean of the weights, which is then what is validated and kept for "
        "use; null: none",
    )
    channels_last: bool = Field(False, description="memory layout NHWC, faster on some GPUs")
    compile: bool = Field(False, description="torch.compile the network")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: torch's choice")
    max_bad_steps: int = Field(
        3, ge=1, description="non-finite steps in a row before going back, at half the rate [steps]"
    )
    channel: list[TrainEntry] = Field(
        [],
        title=ATTACKS,
        description="what a stego may pass through: one entry is drawn a step (docs/channel.md)",
    )
    phases: list[Phase] = Field([Phase(name="all", share=1.0)], description="in order; their shares sum to 1")

    @field_validator("accumulate")
    @classmethod
    def _divides_the_batch(cls, accumulate: int, info: ValidationInfo) -> int:
        groups = info.data.get("batch_size", accumulate)
        if groups % accumulate:
            raise UserError(f"batch_size {groups} cannot be split into {accumulate} equal passes")
        return accumulate

    @field_validator("phases")
    @classmethod
    def _shares_sum_to_one(cls, phases: list[Phase]) -> list[Phase]:
        total = sum(phase.share for phase in phases)
        if abs(total - 1) > 1e-6:
            raise UserError(f"the shares sum to {total:g}, expected 1")
        return phases


class Critic(Section):
    """How a method's critic is trained, after each of the method's own steps."""

    lr: float = Field(2e-4, gt=0, description="highest learning rate of its Adam; it falls as train.lr does")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.5, 0.999), description="decay of Adam's two running means"
    )
    every: int = Field(1, ge=1, description="the critic is trained in one of so many steps [steps]")


class Options(Section):
    """What train and test options have in common."""

    _source: Source = PrivateAttr(default_factory=Source)

    name: str = Field(
        pattern=FOLDER_NAME,
        title="letters, digits, '.', '_' or '-'",
        description="the run's name: it writes to experiments/<name>",
    )
    seed: Seed = Field(0, description="seed of every random choice")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
        title="auto, cpu, cuda, cuda:N or mps",
        description="where to compute; auto: a GPU where there is one",
    )

    @field_validator("name")
    @classmethod
    def _is_not_the_shipped_weights(cls, name: str) -> str:
        if name == "pretrained":
            raise UserError("'pretrained' is the folder of the shipped weights; choose another name")
        return name

    def error(self, key: str, message: str) -> OptionsError:
        """An error about the value of `key` ("data.train.crop") that names its file and line."""
        return OptionsError(str(self._source.mistake(key, message)))


class TrainOptions(Options):
    """An option file of train.py."""

    network: Network = Field(description="type, and any arguments of that network")
    loss: dict[str, Any] = Field({}, description="arguments of the loss, such as its weights")
    data: TrainData = Field(description="pictures")
    train: Train = Field(description="optimiser and schedule")
    critic: Critic | None = Field(
        None, description="training of the method's critic, if it has one; null: the defaults"
    )


class TestOptions(Options):
    """An option file of test.py."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    weights: Text = Field(
        description="a run's name, a name in experiments/pretrained, a .safetensors file, or a method "
        "without weights (lsb, codec_lsb, thumbnails)"
    )
    network: Network | None = Field(
        None, description="what the weights must be; null: what they say they are"
    )
    data: TestData = Field(description="pictures")
    save_images: int = Field(4, ge=0, description="groups whose pictures are kept [groups]")
    capacity: bool = Field(
        True, description="payload_bpp and cdt_efficiency: some 0.3 s of encoding for a 256-pixel secret"
    )
    attacks: list[TestEntry] = Field(
        [], title=ATTACKS, description="what happens to each stego; one row each in the results"
    )
