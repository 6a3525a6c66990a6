"""The work of test.py: test weights on data sets, and write results folders and a table."""

import json
from collections.abc import Sequence
from pathlib import Path

from channel.attacks import Attack
from data.files import locked, write_beside
from data.loader import EvaluationGroups
from engine import processes
from engine.build import build_attacks, choose_device, evaluation_groups, method_arguments, set_name
from engine.checkpoint import load_model
from engine.log import close_log, device_name, environment, failures_logged, log_to, logger, silence
from engine.precision import name_of, set_precision
from engine.testing.evaluate import evaluate
from engine.testing.results import table
from errors import UserError
from models import HidingModel
from options import TestOptions, dump


def run_tests(
    options: TestOptions,
    experiments: Path,
    chosen: list[str] | None = None,
    precision: str = "fp32",
    reveal_precision: str | None = None,
) -> None:
    """Test the weights of an option file on its data sets, or only on those named in `chosen`.

    precision: fp32, bf16 or fp16. The network hides in it, and also reveals in it unless reveal_precision
    is set. Checks the weights and all data sets before it scores the first one. Raises UserError for
    wrong options, weights or data sets.
    """
    with processes.joined(), processes.together():
        _run_tests(options, experiments, chosen, (precision, reveal_precision))


def _run_tests(
    options: TestOptions, experiments: Path, chosen: list[str] | None, precisions: tuple[str, str | None]
) -> None:
    device = choose_device(options.device)
    attacks = build_attacks(options)
    expect = method_arguments(options, options.network) if options.network else None
    try:
        model, weights = load_model(options.weights, device, experiments, expect)
    except UserError as error:
        raise options.error("weights", str(error)) from error
    set_precision(model, *precisions)
    sets = {}
    for k, pictures in enumerate(options.data.test):
        name = set_name(pictures)
        if chosen is not None and name not in chosen:
            continue
        if name in sets:
            raise options.error(
                f"data.test.{k}", f"a second data set called '{name}'; give it another `name`"
            )
        sets[name] = evaluation_groups(options, f"data.test.{k}", pictures, model)
    for name in chosen or ():
        if name not in sets:
            known = ", ".join(set_name(p) for p in options.data.test)
            raise UserError(f"--datasets: the file has no data set '{name}'; it has: {known}")

    if not processes.is_first():
        silence()
        for name, groups in sets.items():
            _test(options, experiments / options.name / "results" / name, groups, model, weights, attacks)
        return
    run = experiments / options.name
    run.mkdir(parents=True, exist_ok=True)
    with locked(
        run / "test.log", "another test of this name is running; wait until it ends or change `name`"
    ):
        log_to(run / "test.log")
        try:
            with failures_logged():
                write_beside(run / "test_options.yml", dump(options).encode())
                logger.info(f"{weights['path']}: {weights['method']}, {model.num_secrets} secrets, {device}")
                for name, groups in sets.items():
                    _test(options, run / "results" / name, groups, model, weights, attacks)
        finally:
            close_log()


def _test(
    options: TestOptions,
    out: Path,
    groups: EvaluationGroups,
    model: HidingModel,
    weights: dict[str, str],
    attacks: Sequence[Attack],
) -> None:
    """Test on one data set, and write its results folder `out`."""
    logger.info(f"{out.name}: {len(groups)} groups of 1 cover and {model.num_secrets} secrets")
    env = environment(model.device)
    summary = {
        "method": weights["method"],
        "dataset": out.name,
        "weights": weights["path"],
        "weights_sha256": weights["sha256"] or None,
        "arguments": model.arguments,
        "weights_step": int(weights.get("step", -1)),
        "training": _training(weights),
        "seed": options.seed,
        "through": "PNG",
        "device": device_name(model.device),
        "precision": name_of(model.sender_type),
        "reveal_precision": name_of(model.receiver_type),
        "machine": env["machine"],
        "command": env["command"],
        "git_commit": env["git_commit"],
        "packages": env["packages"],
    }
    metrics = evaluate(
        model, groups, out, summary, options.save_images, options.capacity, attacks, options.seed
    )
    if not processes.is_first():
        return
    logger.info(table(metrics))
    logger.info(f"results: {_short(out / 'metrics.json')}")
    logger.info(f"report: {_short(out / 'report.html')}")
    for figure in sorted((out / "figures").glob("group_*.png"))[:1]:
        logger.info(f"pictures: {_short(figure)}")


def _training(weights: dict[str, str]) -> dict | None:
    """Return what a weights file says about its training; None for a method without training."""
    if "options" not in weights:
        return None
    options = json.loads(weights["options"])
    return {
        "run": weights.get("run"),
        "seed": options["seed"],
        "minutes": options["train"].get("minutes"),
        "threads": options["train"].get("threads"),
        "git_commit": weights.get("git_commit"),
    }


def _short(path: Path) -> Path:
    """Make the path relative to the current folder, if it is inside it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
