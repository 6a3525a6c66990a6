"""Define the keys of option files: the type, default, meaning and [unit] of each.

If a field has a `title`, error messages use it as the field's type in words.
"""

from typing import Annotated, Any, Literal

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
from options.mistakes import OptionsError, Source


class Section(BaseModel):
    """A part of an option file. Unknown keys and wrong types are mistakes; values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Network(Section):
    """The network's type and the keyword arguments of its constructor."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, description="the network's name in models.MODELS")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything except `type`, as written in the file; see `check_arguments`."""
        return dict(self.model_extra or {})


FOLDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # numpy accepts no larger seed


class Pictures(Section):
    """Where pictures come from, and how they are resized and cropped."""

    dataset: Text | None = Field(
        None, description="a preset such as div2k; it sets the defaults of folder, crop and resize"
    )
    folder: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        None,
        title="a folder or a list of folders",
        description="folders (searched recursively), .txt lists of files, samples:train or samples:test",
    )
    crop: int | None = Field(None, ge=1, description="side of the square to cut out [px]")
    resize: int | None = Field(None, ge=1, description="length of the short side before the crop [px]")
    small: Literal["error", "skip", "enlarge"] | None = Field(
        None,
        description="what to do with pictures smaller than the crop; null: the preset's choice, or error",
    )
    grey: bool = Field(False, description="turn every picture grey: three equal channels of BT.601 luma")

    @property
    def folders(self) -> list[str]:
        """`folder` as a list, however it was written; empty if the preset decides."""
        return [self.folder] if isinstance(self.folder, str) else list(self.folder or ())

    @model_validator(mode="after")
    def _has_a_source(self):
        if self.dataset is None and self.folder is None and getattr(self, "groups_file", None) is None:
            raise UserError("give dataset (a preset such as div2k), folder, or both")
        return self


class TrainPictures(Pictures):
    """Training pictures. Every step draws new groups of them."""

    flip: bool = Field(True, description="mirror at random")
    rotate: bool = Field(True, description="rotate by 0, 90, 180 or 270 degrees at random")
    workers: int = Field(2, ge=0, description="processes that read pictures; 0: the main process reads them")
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
        description="name of the results folder; null: derived from the source",
    )
    groups: int | None = Field(
        None, ge=1, description="number of groups; null: as many disjoint groups as the pictures make"
    )
    grouping: Literal["random", "sorted"] = Field("random", description="order in which pictures are grouped")
    stride: int | None = Field(
        None, ge=1, description="with sorted: group g starts at picture g*stride; null: N+1 [pictures]"
    )
    groups_file: Text | None = Field(None, description="CSV file with one group per line, the cover first")
    seed: Seed = Field(0, description="seed of the random grouping")


class TrainData(Section):
    """The pictures of one training run."""

    train: TrainPictures = Field(description="pictures to train on")
    # Not called `validate` in Python, because BaseModel has an attribute of that name.
    validation: GroupPictures | None = Field(
        None, alias="validate", description="groups to validate on; null: no validation"
    )


class TestData(Section):
    """The data sets of one test."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    test: list[GroupPictures] = Field(min_length=1, description="the data sets, one entry for each")


class Attack(Section):
    """A change that a stego undergoes on its way, and how strong it is."""

    model_config = ConfigDict(extra="allow")

    # The names in channel.attacks. Leaf modules do not import each other, so a test compares the names.
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
    ] = Field(description="the attack; keys for its strength go beside it (docs/evaluation.md)")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything except the declared keys, as written in the file; see `check_arguments`."""
        return dict(self.model_extra or {})


class TrainAttack(Attack):
    """An attack that a training step may draw. A strength may be a range [low, high]."""

    weight: float | None = Field(
        None,
        gt=0,
        description="how often it is drawn relative to the others; for a chain, in its first attack; null: 1",
    )


def _form(value: Any) -> str:
    return "chain" if isinstance(value, list) else "attack"


# An entry in a list of attacks: one attack, or a chain of them.
TestEntry = Annotated[
    Annotated[Attack, Tag("attack")] | Annotated[list[Attack], Field(min_length=1), Tag("chain")],
    Discriminator(_form),
]
TrainEntry = Annotated[
    Annotated[TrainAttack, Tag("attack")] | Annotated[list[TrainAttack], Field(min_length=1), Tag("chain")],
    Discriminator(_form),
]
ATTACKS = "a list of attacks and of chains (lists of attacks)"


class Phase(Section):
    """A part of the training with its own frozen parts and loss weights."""

    name: Text = Field(description="name in the log")
    share: float = Field(gt=0, le=1, description="length of the phase [fraction of train.steps]")
    freeze: list[Text] = Field([], description="parts of the network that are not trained")
    lr_scale: float = Field(1.0, gt=0, description="factor on the learning rate")
    loss: dict[str, Any] = Field({}, description="keys that override the loss section")
    channel: list[TrainEntry] | None = Field(
        None, title=ATTACKS, description="replaces train.channel; []: no channel; null: train.channel"
    )


class Train(Section):
    """The optimiser, its schedule, and how often the run saves, validates and logs."""

    steps: int = Field(ge=1, description="how many optimiser steps the run takes [steps]")
    minutes: float | None = Field(
        None,
        gt=0,
        description="time limit of the run, to which its schedule and phases adapt; null: none [min]",
    )
    batch_size: int = Field(1, ge=1, description="groups in one optimiser step [groups]")
    accumulate: int = Field(
        1,
        ge=1,
        description="passes that a step's groups are split into, to save memory; must divide batch_size",
    )
    checkpoint_blocks: bool = Field(
        False,
        description="keep only the inputs of each block and recompute the rest in the backward pass: takes "
        "several times less memory and a third more time, and gives the same weights",
    )
    start_from: Text | None = Field(
        None,
        description="weights of the same method to start from (a run, a shipped name, a file); parts that "
        "they lack, such as further blocks, start fresh; null: everything does",
    )
    optimizer: Literal["adam", "muon"] = Field(
        "adam",
        description="muon: orthogonalised momentum for the convolutions' kernels and Adam for the rest; "
        "learns several times faster",
    )
    lr: float = Field(2e-4, gt=0, description="highest learning rate of Adam")
    muon_lr: float = Field(0.01, gt=0, description="highest learning rate of Muon")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="decay rates of Adam's two running means"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of Adam; Muon uses none")
    schedule: Literal["cosine", "halving", "constant"] = Field(
        "cosine", description="how the learning rate decreases"
    )
    halve_every: int = Field(10000, ge=1, description="with halving: time between two halvings [steps]")
    warmup: int = Field(
        0, ge=0, description="length of the linear rise of the learning rate at the start [steps]"
    )
    final_lr: float = Field(
        0.01, ge=0, le=1, description="with cosine: learning rate at the end [share of lr]"
    )
    grad_clip: float = Field(
        10.0,
        ge=0,
        description="largest gradient norm, to which larger gradients are scaled down; 0: no limit",
    )
    checkpoint_every: int = Field(1000, ge=1, description="time between checkpoints [steps]")
    validate_every: int = Field(1000, ge=1, description="time between validations [steps]")
    log_every: int = Field(50, ge=1, description="time between lines in the log [steps]")
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32", description="arithmetic of the network; auto: bf16 if the device is faster in it, else fp32"
    )
    ema: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="decay of a running mean of the weights, which the run then validates and saves for use; "
        "null: no mean",
    )
    channels_last: bool = Field(False, description="use the memory layout NHWC, which is faster on some GPUs")
    compile: bool = Field(False, description="compile the network with torch.compile")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: torch chooses")
    max_bad_steps: int = Field(
        3,
        ge=1,
        description="non-finite steps in a row after which the run returns to a checkpoint and halves "
        "the learning rate [steps]",
    )
    channel: list[TrainEntry] = Field(
        [],
        title=ATTACKS,
        description="what a stego may pass through; each step draws one entry (docs/channel.md)",
    )
    phases: list[Phase] = Field(
        [Phase(name="all", share=1.0)], description="phases in order; their shares sum to 1"
    )

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

    lr: float = Field(
        2e-4, gt=0, description="highest learning rate of its Adam; follows the schedule of train.lr"
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.5, 0.999), description="decay rates of Adam's two running means"
    )
    every: int = Field(1, ge=1, description="the critic is trained once in this many steps [steps]")


class Options(Section):
    """The keys that training and test files share."""

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
        description="where to compute; auto: CUDA if there is a GPU, otherwise the CPU",
    )

    @field_validator("name")
    @classmethod
    def _is_not_the_shipped_weights(cls, name: str) -> str:
        if name == "pretrained":
            raise UserError("'pretrained' is the folder of the shipped weights; choose another name")
        return name

    def error(self, key: str, message: str) -> OptionsError:
        """An error about the value of `key`, such as "data.train.crop", that names its file and line."""
        return OptionsError(str(self._source.mistake(key, message)))


class TrainOptions(Options):
    """An option file of train.py."""

    network: Network = Field(description="the network's type and its arguments")
    loss: dict[str, Any] = Field({}, description="arguments of the loss, such as the weights of its terms")
    data: TrainData = Field(description="training and validation pictures")
    train: Train = Field(description="optimiser and schedule")
    critic: Critic | None = Field(
        None, description="how to train the method's critic, if it has one; null: the defaults"
    )


class TestOptions(Options):
    """An option file of test.py."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    weights: Text = Field(
        description="a run's name, a name in experiments/pretrained, a .safetensors file, or a method "
        "without weights (lsb, codec_lsb, codec_dct, thumbnails)"
    )
    network: Network | None = Field(
        None, description="method and arguments that the weights must have; null: any"
    )
    data: TestData = Field(description="test pictures")
    save_images: int = Field(4, ge=0, description="groups whose pictures are saved [groups]")
    capacity: bool = Field(
        True,
        description="compute payload_bpp and cdt_efficiency; takes about 0.3 s for a 256-pixel secret",
    )
    attacks: list[TestEntry] = Field(
        [], title=ATTACKS, description="attacks on each stego; each gets its own row in the results"
    )
