"""Run by sd-scripts' own Python in its checkout: what its parsers make of plans of ours.

    python kohya_parsers.py PLANS.json ANSWERS.json

For each plan the parser of its script reads our run file and arguments, and sd-scripts' own code
checks them, makes the data sets, the optimiser and its schedule. Nothing is trained.
"""

# ruff: noqa: BLE001

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any


def main(plans: Path, answers: Path) -> None:
    """Answer for every plan: what is wrong with it, and what the parsers know."""
    sys.path.insert(0, str(Path.cwd()))
    given = json.loads(plans.read_text(encoding="utf-8"))
    found = {name: _problems(plan["argv"]) for name, plan in given.items()}
    scripts = sorted({Path(_script(plan["argv"])).stem for plan in given.values()})
    answers.write_text(json.dumps({"plans": found, "keys": _keys(scripts)}), encoding="utf-8")


def _script(argv: list[str]) -> str:
    return next(one for one in argv if one.endswith("_network.py"))


def _keys(scripts: list[str]) -> dict[str, list[str]]:
    return {
        name: sorted(one.dest for one in _module(name).setup_parser()._actions) for name in scripts
    }


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _problems(argv: list[str]) -> list[str]:
    script = _script(argv)
    cut = argv.index(script)
    try:
        return [*_launcher(argv[:cut]), *_options(Path(script).stem, argv[cut + 1 :])]
    except SystemExit as error:
        return [f"the parser ends with {error.code}"]
    except Exception:
        return [traceback.format_exc()]


def _launcher(argv: list[str]) -> list[str]:
    config, launch = map(
        _module, ("accelerate.commands.config.config_args", "accelerate.commands.launch")
    )
    assert argv[1:3] == ["-m", "accelerate.commands.launch"]
    arguments = launch.launch_command_parser().parse_args([*argv[3:], "script.py"])
    config.load_config_from_file(arguments.config_file)
    return []


def _options(name: str, argv: list[str]) -> list[str]:
    toml, config_util, strategy_base, train_util = map(
        _module, ("toml", "library.config_util", "library.strategy_base", "library.train_util")
    )
    module = _module(name)
    parser: argparse.ArgumentParser = module.setup_parser()
    sys.argv = [name, *argv]
    first = parser.parse_args()
    written = toml.load(first.config_file)
    train_util.verify_command_line_training_args(first)
    args = train_util.read_config_from_file(first, parser)
    actions = {one.dest: one for one in parser._actions}
    found = [f"{key} is not known" for key in written if key not in actions]
    found += [
        f"{key} is {getattr(args, key)!r}, written as {value!r}"
        for key, value in written.items()
        if getattr(args, key) != value
    ]
    found += [
        said
        for key, value in written.items()
        if key in actions and (said := _of_kind(actions[key], value))
    ]
    train_util.verify_training_args(args)
    train_util.prepare_dataset_args(args, True)
    trainer = _trainer(module)
    caching = strategy_base.LatentsCachingStrategy
    caching._strategy = None  # of the plan before
    caching.set_strategy(trainer.get_latents_caching_strategy(args))
    sanitizer = config_util.ConfigSanitizer(True, True, args.masked_loss, True)
    config = config_util.load_user_config(args.dataset_config)
    blueprint = config_util.BlueprintGenerator(sanitizer).generate(config, args)
    group, held_out = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    if not len(group):
        found.append("no images were found")
    if args.cache_latents and not group.is_latent_cacheable():
        found.append("latents cannot be cached")
    trainer.assert_extra_args(args, group, held_out)
    _optimiser(args)
    if args.sample_prompts:
        train_util.load_prompts(args.sample_prompts)
    importlib.import_module(args.network_module)
    return found


def _of_kind(action: argparse.Action, value: Any) -> str:
    if action.choices and value not in action.choices:
        return f"{action.dest} = {value!r} is none of {action.choices}"
    if isinstance(action, argparse._StoreTrueAction):
        return "" if isinstance(value, bool) else f"{action.dest} = {value!r} is no flag"
    if action.nargs:
        return "" if isinstance(value, list) else f"{action.dest} = {value!r} is no list"
    kind = action.type if isinstance(action.type, type) else None
    if kind is float:
        return "" if isinstance(value, int | float) else f"{action.dest} = {value!r} is no number"
    if kind is None or issubclass(kind, Path) or isinstance(value, kind):
        return ""
    return f"{action.dest} = {value!r} is no {kind.__name__}"


def _trainer(module: Any) -> Any:
    classes = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and one.__name__.endswith("NetworkTrainer")
    ]
    return max(classes, key=lambda one: len(one.__mro__))()


def _optimiser(args: argparse.Namespace) -> None:
    if "8bit" in args.optimizer_type:
        return  # it is only there with CUDA
    torch, train_util = map(_module, ("torch", "library.train_util"))
    weights = torch.nn.Parameter(torch.zeros(2, 2))
    groups = [{"params": [weights], "lr": args.unet_lr}]
    _, _, optimiser = train_util.get_optimizer(args, groups)
    schedule = train_util.get_scheduler_fix(args, optimiser, 1)
    weights.sum().backward()
    optimiser.step()
    schedule.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
