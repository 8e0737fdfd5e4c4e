"""The command line: what it answers at once, what it hands to the library, and how it ends badly."""

import dataclasses
import inspect
import itertools
import json
import logging
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer.main
from typer.testing import CliRunner

from bigcp3d.errors import BlockError, InputError, ModelError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.face.commands.segment import segment
from bigcp3d.face.commands.sweep import sweep
from bigcp3d.face.commands.update import update
from bigcp3d.option import settings_of
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import BlockDone, PassStarted, Summary

COMMANDS = tuple(typer.main.get_command(app).commands)
HEAVY = ("torch", "dask", "distributed", "zarr", "ome_zarr", "numba", "scipy", "skimage", "matplotlib", "numpy")
SUMMARY = Summary(
    labels="in.zarr/labels/cells", name="cells", cells=12, removed={"too small": 3, "too long": 0}, unassigned_vox=5,
    foreground_vox=1000, nonfinite_vox=0, blocks=8, voxels=2_000_000, seconds=4.0, pass_seconds={},
)  # fmt: skip


@pytest.fixture
def run():
    """Run a command line in this process; its exit code, stdout and stderr."""
    yield CliRunner().invoke
    logger = logging.getLogger("bigcp3d")
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture
def library(monkeypatch):
    """A stand-in for `bigcp3d.schedule.segment` that records its calls."""
    calls = []

    def segment(source, **options):
        calls.append((source, options))
        if (observer := options.get("on_event")) is not None:
            observer(PassStarted("predict", 2))
            observer(BlockDone("predict", (0, 0, 0), 1000, 0.5, 2, 2))
        return SUMMARY

    def plan_segmentation(source, **options):
        calls.append((source, options))
        return "8 blocks of 32 x 64 x 64"

    module = SimpleNamespace(segment=segment, plan_segmentation=plan_segmentation, calls=calls)
    monkeypatch.setitem(sys.modules, "bigcp3d.schedule.segment", module)
    monkeypatch.setitem(sys.modules, "bigcp3d.schedule.plan_segmentation", module)
    monkeypatch.setattr("bigcp3d.face.describe_plan.describe_plan", str)
    monkeypatch.setattr("bigcp3d.schedule.running.start.warn_of_storage", lambda plan: [])
    return module


def loaded_after(code):
    """The heavy modules that a fresh interpreter holds after running ``code``."""
    tail = f"\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def help_of(*command):
    return (
        "from typer.testing import CliRunner\nfrom bigcp3d.face.cli import app\n"
        f"assert CliRunner().invoke(app, {[*command, '--help']!r}).exit_code == 0"
    )


def test_importing_the_package_and_its_help_load_nothing_heavy_and_using_it_does():
    every = [
        "import bigcp3d; dir(bigcp3d); bigcp3d.__version__",
        help_of(),
        *(help_of(command) for command in COMMANDS),
    ]
    assert loaded_after("\n".join(every)) == "[]"
    assert "numpy" in loaded_after("import bigcp3d.pure.group.objects")  # the control: the look at sys.modules sees


def test_planning_and_describing_load_nothing_that_computes(tissue_store, random_model):
    plan = ["segment", str(tissue_store), "--dry-run", "--model", random_model, "--diameter", "as-is"]
    code = (
        "from typer.testing import CliRunner\nfrom bigcp3d.face.cli import app\n"
        f"for command in ({plan!r}, ['info', {str(tissue_store)!r}]):\n"
        "    done = CliRunner().invoke(app, command)\n    assert done.exit_code == 0, done.output"
    )
    assert loaded_after(code) == "['zarr', 'numpy']"


def test_every_public_name_can_be_had_from_the_top():
    import bigcp3d

    assert all(callable(getattr(bigcp3d, name)) for name in bigcp3d.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match=r"no attribute 'segmnt'; it has .*segment"):
        _ = bigcp3d.segmnt


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "segment",
            "--output --name --model --diameter --diameter-voxels --block --channel --level --labels-level "
            "--scheduler --workers --overwrite "
            "--keep-maps --dry-run --scale --min-volume --max-volume --min-foreground --max-elongation "
            "--max-flow-error --foreground --radius --memory-limit --work-dir --maps --serial --verbose --quiet "
            "--roi --mask --time --table",
        ),
        ("simulate", "--shape --diameter-voxels --stain --scale --like --channel --seed"),
        ("evaluate", "--pred-name --truth-name --min-cell-vox --blocks --csv --json --picture --overwrite"),
        ("measure", "--name --image --channel --output --work-dir --workers --overwrite"),
        ("demo", "--check"),
        ("train", "--output"),
    ],
)
def test_every_option_is_explained(run, command, options):
    text = run(app, [command, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    missing = [option for option in options.split() if option not in text]
    assert missing == []


def test_the_manual_explains_every_option_of_every_command(run):
    commands = typer.main.get_command(app).commands
    text = run(app, ["manual"]).stdout
    for name, command in commands.items():
        assert f"## `bigcp3d {name}`" in text
        for option in (p for p in command.params if p.param_type_name == "option"):
            assert option.opts[0] in text
            assert option.name == "help" or option.help, f"{name} {option.opts[0]} has no help"
    one = run(app, ["manual", "segment"]).stdout
    assert "--min-volume VOX" in one
    assert "bigcp3d train" not in one
    assert run(app, ["manual", "sgment"]).exit_code == InputError.exit_code


def sample(setting):
    """Words that say something else than the default, and the value that the library gets."""
    if setting.option.positional:
        return ["in.zarr"], "in.zarr"
    if setting.option.switch is not None:
        return [setting.flag], setting.option.switch
    if setting.option.many:
        return [setting.flag, "DAPI", setting.flag, "2"], ("DAPI", "2")
    if setting.choices:
        return [setting.flag, setting.choices[-1]], setting.choices[-1]
    for kind, words, value in (
        (bool, [], True),
        (float, ["0.25"], 0.25),
        (str, ["7"], "7"),
        (int, ["7"], 7),
        (tuple[int, int, int], ["4", "5", "6"], (4, 5, 6)),
        (tuple[float, float, float], ["4", "5.5", "6"], (4.0, 5.5, 6.0)),
    ):
        if kind in setting.members:
            return [setting.flag, *words], value
    raise AssertionError(setting)


def test_segment_hands_every_option_to_the_library(run, library):
    known = settings_of(Request)
    words, values = zip(*(sample(setting) for setting in known.values()), strict=True)
    done = run(app, ["segment", *itertools.chain(*words), "--quiet", "--no-report"])
    assert done.exit_code == 0, done.output
    ((source, given),) = library.calls
    assert {"source": source, **given} == {**dict(zip(known, values, strict=True)), "on_event": None}


def test_options_have_the_names_that_the_library_gives_them():
    """A control of the test above, by hand: units in the name of the argument, not of the option."""
    flags = {setting.flag: name for name, setting in settings_of(Request).items()}
    by_hand = {
        "--diameter": "diameter_um", "--diameter-voxels": "diameter_vox", "--scale": "scale_um", "--from": "start",
        "--radius": "radius_vox", "--closing": "closing_vox", "--serial": "executor", "--labels-level": "labels_level",
    }  # fmt: skip
    assert {flag: flags[flag] for flag in by_hand} == by_hand


def test_segment_leaves_every_default_to_the_library(run, library):
    assert run(app, ["segment", "in.zarr", "--dry-run"]).exit_code == 0
    given = library.calls[0][1]
    del given["on_event"]
    defaults = {field.name: field.default for field in dataclasses.fields(Request) if field.name != "source"}
    assert given == {**defaults, "table": "csv"}


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["s3://bucket/in.zarr"], None),
        (["in.zarr", "--output", "s3://bucket/out.zarr"], None),
        (["in.zarr", "--table", "none"], None),
        (["in.zarr", "--table", "a.parquet"], "a.parquet"),
    ],
)
def test_stores_on_this_machine_get_a_table_unless_the_user_wants_none(run, library, words, table):
    assert run(app, ["segment", *words, "--dry-run"]).exit_code == 0
    assert library.calls[0][1]["table"] == table


def test_a_channel_may_be_named(run, library):
    assert run(app, ["segment", "in.zarr", "--channel", "DAPI", "--channel", "0"]).exit_code == 0
    assert library.calls[0][1]["channel"] == ("DAPI", "0")


def test_a_run_reports_on_stderr_and_sums_up_in_one_line_on_stdout(run, library):
    done = run(app, ["segment", "in.zarr", "--serial"])
    assert library.calls[0][1]["executor"] == "serial"
    assert done.stdout.splitlines() == [
        "12 cells in in.zarr/labels/cells; 3 removed (too small); 0.50% of the foreground without a cell; "
        "2 Mvoxel in 8 blocks took 0:04 (500 kvoxel/s)"
    ]
    assert "predict 2/2 blocks" in done.stderr


def test_json_puts_events_and_nothing_else_on_stdout(run, library):
    done = run(app, ["segment", "in.zarr", "--serial", "--json"])
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["pass", "progress"]
    assert done.stderr == ""


def test_json_ends_with_the_error_that_ended_the_run(run, library, monkeypatch):
    def fail(*args, **options):
        raise BlockError("2 blocks failed")

    monkeypatch.setattr(library, "segment", fail)
    done = run(app, ["segment", "in.zarr", "--json"])
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code == BlockError.exit_code == last.pop("exit_code")
    assert (last["event"], last["kind"], last["message"]) == ("error", "BlockError", "2 blocks failed")
    assert "2 blocks failed" in done.stderr


def test_a_dry_run_prints_the_plan_and_does_not_segment(run, library):
    done = run(app, ["segment", "in.zarr", "--dry-run"])
    assert done.stdout == "8 blocks of 32 x 64 x 64\n"


def test_a_dry_run_for_pipelines_is_one_line(run, tissue_store, random_model, tmp_path):
    output = str(tmp_path / "o.zarr")
    command = ["segment", tissue_store, "--model", random_model, "--diameter", "as-is", "--output", output]
    done = run(app, [*command, "--dry-run", "--json"])
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["event"] == "planned"
    assert json.loads(line)["labels"] == f"{output}/labels/cells"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"), [(InputError, 2), (ModelError, 2), (TargetError, 3), (BlockError, 4)], ids=lambda v: str(v)
)
def test_an_error_of_ours_is_one_message_on_stderr_and_its_own_exit_code(run, library, error, code):
    def fail(*_, **__):
        raise error("found this; allowed is that; do so")

    library.segment = fail
    done = run(app, ["segment", "in.zarr"])
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == f"bigcp3d: {error.__name__}: found this; allowed is that; do so\n"
    assert "Traceback" in run(app, ["segment", "in.zarr", "--verbose"]).stderr


def test_an_error_of_another_kind_keeps_its_traceback(run, library):
    library.segment = lambda *_, **__: 1 / 0
    assert isinstance(run(app, ["segment", "in.zarr"]).exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_says_how_to_carry_on(run, library):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    library.segment = interrupt
    done = run(app, ["segment", "in.zarr"])
    assert done.exit_code == 130
    assert "the same command continues" in done.stderr


def test_ctrl_c_promises_to_carry_on_only_where_that_is_so(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bigcp3d.schedule.measure.measure", interrupt)
    done = run(app, ["measure", "in.zarr", "--output", "cells.csv"])
    assert (done.exit_code, done.stdout) == (130, "")
    assert "bigcp3d: interrupted\n" in done.stderr


def test_json_tells_of_every_end_in_its_last_line(run, library):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    def refuse(**arguments):
        Request(**{name: value for name, value in arguments.items() if name != "on_event"}).check()

    for words, stand_in, kind, code in (
        (["--serial"], interrupt, "KeyboardInterrupt", 130),
        (["--serial", "--workers", "2"], refuse, "InputError", 2),
    ):
        library.segment = stand_in
        done = run(app, ["segment", "in.zarr", "--json", *words])
        last = json.loads(done.stdout.splitlines()[-1])
        assert (last["event"], last["kind"], last["exit_code"], done.exit_code) == ("error", kind, code, code)


def test_json_tells_of_a_bug_too(run, library):
    library.segment = lambda *_, **__: 1 / 0
    done = run(app, ["segment", "in.zarr", "--json"])
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["kind"], last["exit_code"], done.exit_code) == ("error", "ZeroDivisionError", 1, 1)
    assert isinstance(done.exception, ZeroDivisionError)


def test_options_that_commands_share_have_one_default():
    """A sweep, or an update, must do what `segment` does with the same words.

    Where an update is not told how to find cells, it does as the labels say.
    """
    of_labels = {("update", name) for name in ("foreground", "missing_chunks", "precision")}
    defaults = {name: parameter.default for name, parameter in inspect.signature(segment).parameters.items()}
    differ = {
        (command.__name__, name)
        for command in (sweep, update)
        for name, parameter in inspect.signature(command).parameters.items()
        if name in defaults and parameter.default != defaults[name]
    }
    assert differ == of_labels | {("sweep", "foreground"), ("sweep", "output"), ("sweep", "time")}


def test_chunks_that_were_given_up_are_listed(run, library):
    library.segment = lambda *_, **__: dataclasses.replace(
        SUMMARY, lost=["image, time 0, voxels (0, 0, 0) to (1, 1, 1)"], lost_chunks=1001
    )
    done = run(app, ["segment", "in.zarr", "--on-error", "skip"])
    assert done.exit_code == 0
    assert "1,001 chunks could NOT BE READ" in done.stdout
    assert "could not be read, and is background: image, time 0" in done.stderr
    assert "1,000 more chunks could not be read" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "segment",
        "segment in.zarr --block 1 2",
        "segment in.zarr --block 1 2 x",
        "segment in.zarr --level a",
        "simulate out.zarr --stain blood",
        "nonsense",
    ],
)
def test_a_wrong_command_line_gives_exit_code_2(run, library, words):
    done = run(app, words.split())
    assert done.exit_code == 2
    assert library.calls == []


def test_version_is_that_of_the_package(run):
    import bigcp3d

    assert run(app, ["--version"]).stdout == f"bigcp3d {bigcp3d.__version__}\n"


@pytest.mark.parametrize("name", ["membrane", "nuclei"])
def test_a_shipped_model_is_shown_with_its_scores_and_failings(run, name):
    done = run(app, ["models", name])
    assert done.exit_code == 0
    assert f"# Model card: `{name}`" in done.stdout
    assert "What it fails on" in done.stdout
    assert re.search(r"\n  cells +\d+ voxels wide; with --diameter, images are resampled", done.stdout)
    assert re.search(r"\n  trained on +\S", done.stdout)
    assert re.search(r"\n  made +.* --data FOLDER ", done.stdout), "no folder of the machine on which it was trained"
    assert not re.findall(r"\w+_vox|optional_channels|None|\(\)", done.stdout.partition("# Model card")[0])
    assert "Model card" not in run(app, ["models"]).stdout


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "bigcp3d", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("bigcp3d "), done.stderr
