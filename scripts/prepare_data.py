"""Check a folder of pictures, cut large pictures into smaller ones, or write a fixed groups file.

Run from the checkout: `python scripts/prepare_data.py --help`. Exit code 0: done; 2: bad pictures
or a mistake in the call, which one line on stderr explains; 1: any other error.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import replaced_at_once
from data.groups import GROUPINGS, make_groups, write_groups
from data.images import check_pictures, list_pictures, picture_size, read_picture, write_picture
from engine.command import MISTAKES, Parser, at_least, one_line
from errors import UserError

EXAMPLES = """\
DIR is a folder (searched recursively), a .txt list, samples:train or samples:test.

examples:
  every file that cannot be read, or is smaller than 256 pixels:
    python scripts/prepare_data.py --check datasets/COCO/train2017 --smallest 256 --workers 8
  DIV2K as overlapping squares of 512 pixels, which load much faster in training:
    python scripts/prepare_data.py --cut datasets/DIV2K/DIV2K_train_HR \\
        --out datasets/DIV2K/train_512 --size 512 --step 256 --workers 4
  100 fixed groups of one cover and 25 secrets:
    python scripts/prepare_data.py --groups datasets/ImageNet/val --num-secrets 25 \\
        --count 100 --out datasets/ImageNet/groups_25.csv
"""

# The options of each mode. Others would have no effect, so they are refused.
OPTIONS = {
    "check": {"smallest", "workers"},
    "cut": {"out", "size", "step", "workers", "keep_small", "force"},
    "groups": {"out", "num_secrets", "count", "seed", "grouping", "stride", "force"},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the program, and return its exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    mode = next(name for name in OPTIONS if getattr(options, name) is not None)
    refuse_foreign_options(parser, options, mode)
    # Pillow warns about odd files before it reads or refuses them. Only the refusal matters here.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        return {"check": check, "cut": cut, "groups": groups}[mode](options)
    except MISTAKES as error:
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command continues from here", file=sys.stderr)
        return 1


def make_parser() -> Parser:
    parser = Parser(
        "prepare_data.py",
        description="Check pictures, cut large ones, or write a fixed groups file.",
        epilog=EXAMPLES,
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", metavar="DIR", help="decode every picture, and list the bad ones")
    mode.add_argument("--cut", metavar="DIR", help="cut pictures into overlapping squares, as PNG")
    mode.add_argument("--groups", metavar="DIR", help="write groups of 1 cover + N secrets")

    check_options = parser.add_argument_group("with --check")
    check_options.add_argument(
        "--smallest", type=at_least(1), metavar="PX", help="also list pictures with a shorter side"
    )
    workers = parser.add_argument_group("with --check and --cut")
    workers.add_argument("--workers", type=at_least(1), metavar="N", help="number of processes (default: 1)")
    both = parser.add_argument_group("with --cut and --groups")
    both.add_argument("--out", metavar="PATH", help="folder or .csv file to write")
    both.add_argument("--force", action="store_true", help="replace existing files")

    cut_options = parser.add_argument_group("with --cut")
    cut_options.add_argument("--size", type=at_least(1), metavar="PX", help="side of a square")
    cut_options.add_argument("--step", type=at_least(1), metavar="PX", help="step from square to square")
    cut_options.add_argument(
        "--keep-small", action="store_true", help="keep pictures that are smaller than a square as they are"
    )
    group_options = parser.add_argument_group("with --groups")
    group_options.add_argument("--num-secrets", type=at_least(1), metavar="N", help="secrets per cover")
    group_options.add_argument(
        "--count",
        type=at_least(1),
        metavar="N",
        help="number of groups (default: as many as possible without a shared picture)",
    )
    group_options.add_argument(
        "--seed", type=at_least(0), metavar="N", help="seed of the shuffle (default: 0)"
    )
    group_options.add_argument(
        "--grouping", choices=GROUPINGS, help="how to choose the pictures (default: random)"
    )
    group_options.add_argument(
        "--stride", type=at_least(1), metavar="N", help="with sorted: step from group to group, in pictures"
    )
    return parser


def refuse_foreign_options(parser: Parser, options: argparse.Namespace, mode: str) -> None:
    for name, value in vars(options).items():
        if name not in OPTIONS and name not in OPTIONS[mode] and value not in (None, False):
            parser.error(f"--{name.replace('_', '-')} does not go with --{mode}")


def need(options: argparse.Namespace, mode: str, *names: str) -> None:
    missing = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is None]
    if missing:
        raise UserError(f"--{mode} needs {', '.join(missing)}")


def check(options: argparse.Namespace) -> int:
    """Print every bad picture, then the count."""
    pictures = list_pictures(options.check)
    problems = check_pictures(pictures, options.smallest, progress=True, workers=options.workers or 1)
    for path, problem in problems:
        print(f"{path}: {problem}")
    print(f"{len(pictures)} pictures checked, {len(problems)} bad")
    return 2 if problems else 0


@dataclass(frozen=True)
class Cut:
    """One picture and the files to cut from it: target -> (top, left, height, width) [px]."""

    source: Path
    targets: dict[Path, tuple[int, int, int, int]]


def cut(options: argparse.Namespace) -> int:
    """Cut every picture, skip the files of an earlier run, and list the results."""
    need(options, "cut", "out", "size", "step")
    if options.step > options.size:
        raise UserError(f"--step {options.step}: above --size {options.size}, so pixels would be lost")
    out = Path(options.out)
    cuts = plan_cuts(options.cut, out, options.size, options.step, options.keep_small)
    targets = [target for one in cuts for target in one.targets]
    there = set() if options.force else {target for target in targets if target.exists()}
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    run_cuts([drop_targets(one, there) for one in cuts], len(targets), options.workers or 1)

    list_file = out / "list.txt"
    with replaced_at_once(list_file) as part:
        part.write_text("".join(line(out, target) for target in targets), encoding="utf-8")
    print(
        f"{len(cuts)} pictures -> {len(targets)} sub-images "
        f"({len(targets) - len(there)} written, {len(there)} there already)\n"
        f"In the option file, under data: train:\n    folder: {list_file.as_posix()}"
    )
    return 0


def plan_cuts(source: str, out: Path, size: int, step: int, keep_small: bool) -> list[Cut]:
    """Plan the cuts from the headers alone, so that every mistake is found before anything is written."""
    pictures = list_pictures(source)
    root = Path(os.path.commonpath([os.path.abspath(picture.parent) for picture in pictures]))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; expected a folder as --out")
    if Path(source).is_dir():
        root = Path(os.path.abspath(source))
        if out.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{out}: is inside {source}, so the next run would cut its files again")
    cuts, small = [], []
    owner: dict[Path, Path] = {}
    for picture in tqdm(pictures, "planning", unit="picture", disable=None):
        height, width = picture_size(picture)
        if min(height, width) < size:
            small.append(f"{picture} ({width}x{height})")
        stem = out / Path(os.path.abspath(picture)).relative_to(root).with_suffix("")
        one = Cut(picture, dict(squares(stem, height, width, size, step)))
        for target in one.targets:
            if owner.setdefault(target, picture) != picture:
                raise UserError(f"{picture}: would be cut into {target}, just like {owner[target]}")
        cuts.append(one)
    if small and not keep_small:
        raise UserError(
            f"{len(small)} of {len(pictures)} pictures are smaller than {size} pixels; "
            f"add --keep-small or remove them: {', '.join(small)}"
        )
    return cuts


def squares(
    stem: Path, height: int, width: int, size: int, step: int
) -> Iterator[tuple[Path, tuple[int, int, int, int]]]:
    """Yield the squares of one picture, or the whole picture if it is smaller than a square."""
    if min(height, width) < size:
        yield stem.with_name(f"{stem.name}_whole.png"), (0, 0, height, width)
        return
    for top in positions(height, size, step):
        for left in positions(width, size, step):
            # The size is in the name, so that files of another size do not count as finished.
            name = f"{stem.name}_y{top:05d}_x{left:05d}_s{size}.png"
            yield stem.with_name(name), (top, left, size, size)


def positions(length: int, size: int, step: int) -> list[int]:
    """Return where the squares begin along one side [px]. The last one ends at the edge."""
    return sorted({*range(0, length - size + 1, step), length - size})


def drop_targets(one: Cut, there: set[Path]) -> Cut:
    return Cut(one.source, {t: box for t, box in one.targets.items() if t not in there})


def run_cuts(cuts: list[Cut], total: int, workers: int) -> None:
    """Cut in `workers` processes, with a bar that counts sub-images."""
    left = [one for one in cuts if one.targets]
    done = total - sum(len(one.targets) for one in left)
    with tqdm(total=total, initial=done, desc="cutting", unit="sub-image", disable=None) as bar:
        if workers == 1:
            for one in left:
                bar.update(cut_one(one))
            return
        # Ctrl-C reaches all processes: the workers ignore it and finish their picture, this one stops.
        ignore = (signal.SIGINT, signal.SIG_IGN)
        with ProcessPoolExecutor(workers, initializer=signal.signal, initargs=ignore) as pool:
            try:
                for finished in as_completed([pool.submit(cut_one, one) for one in left]):
                    bar.update(finished.result())
            except BaseException:  # a bad picture or Ctrl-C: do not cut all the others
                pool.shutdown(cancel_futures=True)
                raise


def cut_one(one: Cut) -> int:
    """Write the sub-images of one picture, and return their number."""
    picture = read_picture(one.source)
    for target, (top, left, height, width) in one.targets.items():
        write_picture(target, picture[top : top + height, left : left + width])
    return len(one.targets)


def line(out: Path, target: Path) -> str:
    text = target.relative_to(out).as_posix()
    # Lines of a list are stripped, and are comments if they start with #. "./" protects such names.
    return f"./{text}\n" if text.startswith(("#", " ")) else f"{text}\n"


def groups(options: argparse.Namespace) -> int:
    """Write a groups file for test.py."""
    need(options, "groups", "out", "num_secrets")
    out = Path(options.out)
    if out.suffix.lower() != ".csv":
        raise UserError(f"{out}: expected a groups file that ends in .csv")
    if out.exists() and not options.force:
        raise UserError(f"{out}: exists; --force replaces it")
    pictures = list_pictures(options.groups)
    made = make_groups(
        pictures,
        options.num_secrets,
        options.count,
        options.seed or 0,
        options.grouping or "random",
        options.stride,
    )
    write_groups(out, made)
    print(
        f"{len(made)} groups of 1 cover + {options.num_secrets} secrets, "
        f"from {len(pictures)} pictures\n"
        f"In the option file, under the data set:\n    groups_file: {out.as_posix()}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
