"""`smartmon snapshots`: its words, its JSON and its exit codes, from the folders on disk alone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartmon.cli import main
from tests.snapshots.trainer import World, tree, write_checkpoint

KEYS = (
    "name path run created_at reason triggers step loss accuracy checkpoint_step bytes pinned state".split()  # noqa: SIM905
)

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A base dir with two snapshots, the daemon and its database gone."""
    made = World(tmp_path / "train")
    made.now = 1_760_000_000.0
    for step, reason in ((100, "loss_spike_40.7pct"), (200, "divergence_detected")):
        write_checkpoint(made.model, step)
        made.ask(step, reason, incident_keys=[f"{reason}-1"])
        made.work()
    made.store.close()
    shutil.rmtree(made.base / ".smartmon")
    return made


@pytest.fixture
def cli(world: World, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command; returns its exit code and what it printed."""

    def run(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(["snapshots", *map(str, words), "--base-dir", str(world.base)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def document(cli: Cli, *words: object, code: int = 0) -> Any:
    """What a command prints with --json."""
    found, out, err = cli(*words, "--json")
    assert found == code, err
    return json.loads(out)


def test_the_list_has_the_stable_keys(cli: Cli):
    rows = document(cli, "list")
    assert [row["step"] for row in rows] == [100, 200]
    assert set(KEYS) <= rows[0].keys()
    assert (rows[0]["state"], rows[0]["triggers"], rows[0]["pinned"]) == ("ok", ["loss_spike_40.7pct"], False)


def test_a_misspelt_kind_is_told_not_taken_for_an_empty_list(cli: Cli):
    code, out, err = cli("list", "--kind", "los_spike")
    assert (code, out) == (2, "")
    assert 'did you mean "loss_spike"?' in err
    assert document(cli, "list", "--kind", "my_own_detector") == []


def test_delete_wants_more_than_a_part_of_a_name_and_says_so(cli: Cli, world: World):
    code, _, err = cli("delete", "loss_spike")
    assert (code, len(world.snapshots)) == (2, 2)
    assert f"did you mean {world.snapshots[0].name}?" in err


def test_a_plan_that_removes_nothing_says_so(cli: Cli):
    code, out, _ = cli("prune", "--dry-run")
    assert code == 0
    assert out.endswith("\n\nnothing to remove: all 2 stay\n")


def test_restore_says_which_checkpoint_is_from_before_the_trouble(cli: Cli, world: World, tmp_path: Path):
    one = world.snapshots[1]
    told = json.loads((one.path / "metadata.json").read_text())
    _, out, _ = cli("restore", one.name, tmp_path / "out")
    good = told["last_good_checkpoint_step"]
    assert len(told["checkpoints"]) == 2
    assert [line.endswith(f"checkpoint-{good} (the last good one)") for line in out.splitlines()[1:]].count(True) == 1


def test_show_and_compare_speak_like_every_other_command(cli: Cli, world: World):
    _, out, _ = cli("show", "divergence")
    when = re.search(r"(?m)^made +(.*)$", out)
    assert when
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", when[1])
    _, out, _ = cli("compare", "loss_spike", "divergence")
    assert when[1] in out
    assert re.search(r"(?m)^bytes +[\d.]+ k?B", out)


def test_the_table_fits_eighty_columns(cli: Cli, world: World):
    code, out, _ = cli("list")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert world.snapshots[0].name in out


def test_lists_are_filtered(cli: Cli):
    assert [row["step"] for row in document(cli, "list", "--kind", "divergence")] == [200]
    assert [row["step"] for row in document(cli, "list", "--limit", 1)] == [200]
    assert document(cli, "list", "--run", "nobody") == []
    assert document(cli, "list", "--since", "2h") == []
    assert len(document(cli, "list", "--run", "tr")) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "metadata.json").unlink(),
        lambda path: (path / "metadata.json").write_text('{"schema'),
        lambda path: (path / "metadata.json").write_text("[" * 100_000),
        lambda path: (path / "metadata.json").write_text('{"schema_version": 99}'),
        lambda path: (path / "metadata.json").write_text('{"schema_version": 1, "files": 3}'),
        lambda path: os.truncate(path / "metadata.json", 2**40),
        lambda path: ((path / "metadata.json").unlink(), (path / "metadata.json").symlink_to("/dev/zero")),
        lambda path: ((path / "metadata.json").unlink(), os.mkfifo(path / "metadata.json")),
        lambda path: shutil.rmtree(path / "model"),
        lambda path: next(path.rglob("checkpoint-200/*.safetensors")).write_bytes(b""),
    ],
)
def test_a_damaged_one_is_listed_beside_the_others_with_3(cli: Cli, world: World, damage: Callable[[Path], Any]):
    damage(world.snapshots[1].path)
    assert [row["state"] for row in document(cli, "list", code=3)] == ["ok", "damaged"]


def test_foreign_things_are_neither_listed_nor_touched(cli: Cli, world: World):
    (world.folder / "mine").mkdir()
    (world.folder / "notes.txt").write_text("x")
    (world.folder / "anomaly_20200101_000000_link").symlink_to(world.base)
    before = tree(world.folder)
    assert len(document(cli, "list")) == 2
    cli("prune")
    assert tree(world.folder) == before


def test_odd_names_cannot_harm_the_terminal(cli: Cli, world: World):
    (world.folder / "anomaly_20200101_000000_\x1b[2J").mkdir()
    _, out, err = cli("list")
    assert "\x1b" not in out + err


def test_a_flipped_byte_is_found_by_verify_full_alone(cli: Cli, world: World):
    shard = next(world.snapshots[1].path.rglob("checkpoint-200/*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert len(document(cli, "list")) == 2
    assert all(result["ok"] for result in document(cli, "verify"))
    first, second = document(cli, "verify", "--full", code=3)
    assert first["ok"]
    assert shard.name in second["problems"][0]


def test_names_may_be_abbreviated_unambiguously(cli: Cli, world: World):
    assert document(cli, "show", "divergence")["step"] == 200
    code, _, err = cli("show", "anomaly_2025")
    assert (code, "could be any of 2" in err) == (2, True)
    assert cli("show", "nothing")[0] == 2


def test_pin_keeps_and_unpin_leaves(cli: Cli, world: World):
    cli("pin", "spike")
    assert [one.pinned for one in world.snapshots] == [True, False]
    code, _, err = cli("delete", world.snapshots[0].name)
    assert (code, "unpin it first" in err) == (3, True)
    cli("unpin", "spike")
    assert cli("delete", world.snapshots[0].name)[0] == 0
    assert len(world.snapshots) == 1


def test_a_dry_run_shows_what_the_real_run_does_and_changes_nothing(cli: Cli, world: World):
    config = world.base / "smartmon.toml"
    config.write_text('[snapshots]\nkeep_last = 0\nkeep_within = { loss_spike = "1s", default = "1s" }\n')
    for one in world.snapshots:
        told = {**one.metadata, "incident_keys": []}
        (one.path / "metadata.json").write_text(json.dumps(told))
    before = tree(world.folder)
    planned = document(cli, "prune", "--dry-run", "--config", config)
    assert tree(world.folder) == before
    done = document(cli, "prune", "--config", config)
    assert {**planned, "dry_run": False} == done
    assert [entry["name"] for entry in done["keep"]] == [one.name for one in world.snapshots]
    assert len(done["remove"]) == 1


def test_without_a_database_every_cited_incident_may_be_open(cli: Cli, world: World):
    config = world.base / "smartmon.toml"
    config.write_text('[snapshots]\nkeep_last = 0\nkeep_within = { loss_spike = "1s", default = "1s" }\n')
    kept = document(cli, "prune", "--config", config)["keep"]
    assert kept[0]["reasons"] == ["an open incident cites it"]


def test_a_policy_that_keeps_nothing_is_refused(cli: Cli, world: World):
    config = world.base / "smartmon.toml"
    config.write_text("[snapshots]\nkeep_last = 0\nkeep_best = 0\nkeep_within = { loss_spike = 0, default = 0 }\n")
    code, _, err = cli("prune", "--config", config)
    assert (code, "keeps nothing" in err, len(world.snapshots)) == (2, True, 2)


def test_restore_copies_all_of_it_out(cli: Cli, world: World, tmp_path: Path):
    one = world.snapshots[1]
    told = document(cli, "restore", "divergence", tmp_path / "out")
    assert told["checkpoints"][0] == str(tmp_path / "out" / "model" / "checkpoint-200")
    for path in one.path.rglob("*"):
        if path.is_file():
            assert (tmp_path / "out" / path.relative_to(one.path)).read_bytes() == path.read_bytes()
    assert cli("restore", "divergence", tmp_path / "out")[0] == 2
    assert [path.name for path in tmp_path.iterdir() if ".partial" in path.name] == []


def test_restore_can_give_the_checkpoint_alone(cli: Cli, tmp_path: Path):
    cli("restore", "spike", tmp_path / "out", "--checkpoint-only")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-100"]


def test_a_forced_restore_replaces_files_and_leaves_the_rest(cli: Cli, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("stays")
    (out / "metadata.json").write_text("goes")
    assert cli("restore", "spike", out, "--force")[0] == 0
    assert (out / "mine.txt").read_text() == "stays"
    assert "schema_version" in (out / "metadata.json").read_text()


def test_a_failed_restore_leaves_the_destination_as_it_was(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "metadata.json").write_text("old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target.name == "training_status.json":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    code, _, err = cli("restore", "spike", out, "--force")
    assert (code, "nothing was changed" in err) == (3, True)
    assert {name: data for name, (_, data) in tree(out).items() if data} == {"metadata.json": b"old"}


def test_compare_sets_two_side_by_side(cli: Cli, world: World):
    found = document(cli, "compare", "spike", "divergence")
    assert (found["a"]["step"], found["b"]["step"]) == (100, 200)
    assert found["numbers"]["loss"]["difference"] == 0
    assert "model/checkpoint-N/config.json" in found["files"]["same"]
    assert "model/checkpoint-N/optimizer.pt" in found["files"]["different"]
    code, out, _ = cli("compare", "spike", "divergence")
    assert (code, "B - A" in out) == (0, True)


def test_the_lock_that_the_daemon_uses_is_respected(cli: Cli, world: World, monkeypatch: pytest.MonkeyPatch):
    from smartmon.snapshots import folder

    monkeypatch.setattr(folder, "_LOOK_AGAIN", 0.001)
    monkeypatch.setattr(folder.locked.__wrapped__, "__defaults__", (0.01,))
    with (world.folder / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cli("delete", world.snapshots[0].name)[0] == 5
    assert len(world.snapshots) == 2


def test_nothing_yet_is_fine_and_no_folder_is_not(world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "new").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["snapshots", "list", "--json", "--base-dir", str(tmp_path / "new")])
    assert (stop.value.code or 0, capsys.readouterr().out) == (0, "[]\n")
    with pytest.raises(SystemExit) as stop:
        main(["snapshots", "list", "--base-dir", str(tmp_path / "nowhere")])
    assert stop.value.code in (2, 4)


def test_a_base_dir_may_be_a_pattern(world: World, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["snapshots", "list", "--json", "--base-dir", str(world.base.parent / "tr*")])
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == [100, 200]


@pytest.mark.parametrize("place", [".", "train"])
def test_one_base_dir_s_are_found_whether_the_daemon_watches_one_or_several(
    world: World, capsys: pytest.CaptureFixture[str], place: str
):
    root = world.base.parent / "kept"
    shutil.copytree(world.folder, root / place, dirs_exist_ok=True)
    config = world.base.parent / "smartmon.toml"
    config.write_text(f'snapshots_dir = "{root}"\n')
    with pytest.raises(SystemExit):
        main(["snapshots", "list", "--json", "--base-dir", str(world.base), "--config", str(config)])
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == [100, 200]
