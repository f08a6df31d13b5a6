"""The configuration: where it comes from, what wins, and what is said when it is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smartmon.config import Config, load
from smartmon.config.example import example
from smartmon.config.toml_lines import lines
from smartmon.errors import ConfigError


def loaded(folder: Path, text: str = "", environ: Mapping[str, str] | None = None, **options: Any) -> Config:
    path = folder / "smartmon.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ=environ or {}, cwd=folder, **options)


def complaint(folder: Path, text: str, environ: Mapping[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, environ, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


# Where it comes from


def test_without_a_file_the_current_directory_is_watched_with_the_defaults(tmp_path: Path) -> None:
    config = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert config.base_dirs == (tmp_path,)
    assert config.database == tmp_path / ".smartmon" / "smartmon.db"
    assert config.snapshots_dir(tmp_path) == tmp_path / "snapshots"
    assert config.log_dir(tmp_path) == tmp_path / "logs"
    assert config.file is None
    assert set(config.origins.values()) == {"default"}


def test_the_file_in_the_current_directory_comes_before_the_users(tmp_path: Path) -> None:
    for name, steps in (("work/smartmon.toml", 1), ("home/.config/smartmon/config.toml", 2)):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(f"[monitor]\nstats_every = {steps}\n")
    environ = {"HOME": str(tmp_path / "home")}
    assert load(environ=environ, cwd=tmp_path / "work").monitor.stats_every == 1
    assert load(environ=environ, cwd=tmp_path).monitor.stats_every == 2
    assert load(environ={"XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path).monitor.stats_every == 500


def test_a_named_file_that_is_missing_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config file at .*nope\.toml; start from one with: smartmon config init"):
        load(Path("nope.toml"), environ={}, cwd=tmp_path)


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_profile(tmp_path: Path) -> None:
    key = "detectors.loss_spike.threshold"
    environ = {"SMARTMON_DETECTORS__LOSS_SPIKE__THRESHOLD": "0.3"}
    text = 'profile = "aggressive"\n'
    section = "[detectors.loss_spike]\nthreshold = 0.4\n"

    def asked(config: Config) -> tuple[float, str]:
        return config.detectors.loss_spike.threshold, config.origins[key].replace(str(tmp_path), "")

    assert asked(loaded(tmp_path)) == (0.3, "default")
    assert asked(loaded(tmp_path, text)) == (0.5, "profile aggressive")
    assert asked(loaded(tmp_path, text + section)) == (0.4, "/smartmon.toml")
    assert asked(loaded(tmp_path, text + section, environ)) == (0.3, f"environment {next(iter(environ))}")
    assert asked(loaded(tmp_path, text + section, environ, overrides={key: 0.2})) == (0.2, "command line")


def test_an_option_that_was_not_given_overrides_nothing(tmp_path: Path) -> None:
    config = loaded(tmp_path, 'profile = "early"\n', overrides={"monitor.poll_interval": None}, profile=None)
    assert config.monitor.poll_interval == 10
    assert config.profile == "early"


def test_a_profile_on_the_command_line_wins_over_the_files(tmp_path: Path) -> None:
    config = loaded(tmp_path, 'profile = "early"\n', profile="conservative")
    assert config.snapshots.min_steps_between_saves == 250
    assert config.phases == ()


def test_paths_start_from_where_they_were_written(tmp_path: Path) -> None:
    text = 'base_dirs = ["a"]\nstate_dir = "s"\n[[runs]]\nname = "r"\npath = "b"\nlogs = ["b/out.log"]\n'
    text += '[[hooks]]\non = ["divergence"]\nrun = ["./notify.sh", "./x"]\n'
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.toml").write_text(text)
    config = load(Path("conf/c.toml"), environ={"SMARTMON_LOG_DIR": "l"}, cwd=tmp_path)
    assert config.base_dirs == (tmp_path / "conf" / "a",)
    assert config.state_dir == tmp_path / "conf" / "s"
    assert config.runs[0].logs == (tmp_path / "conf" / "b" / "out.log",)
    assert config.hooks[0].run == (str(tmp_path / "conf" / "notify.sh"), "./x")
    assert config.log_dir(tmp_path) == tmp_path / "l"


def test_a_base_dir_by_two_names_is_one_base_dir(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    config = load(base_dirs=[Path("real"), Path("link"), Path("real/")], environ={}, cwd=tmp_path)
    assert config.base_dirs == (tmp_path / "real",)


def test_a_shared_snapshots_dir_keeps_base_dirs_apart_even_with_one_last_name(tmp_path: Path) -> None:
    dirs = [tmp_path / name for name in ("a/runs", "b/runs", "c")]
    config = loaded(tmp_path, 'snapshots_dir = "kept"\n', base_dirs=dirs)
    kept = [config.snapshots_dir(base) for base in config.base_dirs]
    assert len(set(kept)) == 3
    assert kept[2] == tmp_path / "kept" / "c"
    assert loaded(tmp_path, 'snapshots_dir = "kept"\n', base_dirs=dirs[:1]).snapshots_dir(dirs[0]) == tmp_path / "kept"


def test_the_environment_reads_lists_numbers_and_durations(tmp_path: Path) -> None:
    environ = {
        "SMARTMON_BASE_DIR": "a:b",
        "SMARTMON_MONITOR__POLL_INTERVAL": "2m",
        "SMARTMON_DETECTORS__NOISE_GUARD": "false",
        "SMARTMON_SNAPSHOTS__EXCLUDE": "optimizer*,*.tmp",
        "SMARTMON_SNAPSHOTS__MAX_BYTES": "1GiB",
        "SMARTMON_HOOKS": '[{on = ["divergence"], run = ["/bin/true"]}]',
    }
    config = loaded(tmp_path, "", environ)
    assert config.base_dirs == (tmp_path / "a", tmp_path / "b")
    assert config.monitor.poll_interval == 120
    assert config.detectors.noise_guard is False
    assert config.snapshots.exclude == ("optimizer*", "*.tmp")
    assert config.snapshots.max_bytes == 2**30
    assert config.hooks[0].label == "true"


def test_variables_that_a_container_platform_invents_are_not_ours(tmp_path: Path) -> None:
    invented = {"SMARTMON_PORT": "tcp://10.0.0.1:80", "SMARTMON_SERVICE_HOST": "10.0.0.1", "SMARTMON_LOG_DIR": ""}
    assert loaded(tmp_path, "", invented).dashboard.port == 8081


@pytest.mark.parametrize("variable", ["SMARTMON_DETECTORS__LOSS_SPIK__THRESHOLD", "SMARTMON_BASEDIR"])
def test_a_misspelt_variable_is_refused(tmp_path: Path, variable: str) -> None:
    assert f"{variable}  names no setting; did you mean SMARTMON_" in complaint(tmp_path, "", {variable: "1"})


# What is wrong with it


def test_every_problem_is_told_at_once_with_line_key_and_expectation(tmp_path: Path) -> None:
    text = """\
retentoin = 3
monitr = {}

[detectors.loss_spike]
threshold = -2
[[notifiers]]
name = "phone"
[snapshots]
max_bytes = "2 QB"
keep_best = "al"
keep_last = 1.5
[log]
level = "loud"
"""
    message = complaint(tmp_path, text, {"SMARTMON_DASHBOARD__PORT": "70000"}, overrides={"monitor.poll_interval": -1})
    title, _blank, *rows = message.splitlines()
    assert title == f"{tmp_path}/smartmon.toml has 10 problems"
    told = [" ".join(row.split()) for row in rows]
    assert told[0].startswith(("SMARTMON_DASHBOARD__PORT dashboard.port must be at most 65535 (got 70000)", "command"))
    assert "command line monitor.poll_interval must be at least 0.05 (got -1)" in told
    assert told[2].startswith("line 1: retentoin unknown key; there are base_dirs, state_dir,")
    assert told[3:] == [
        'line 2: monitr unknown key; did you mean "monitor"?',
        "line 5: detectors.loss_spike.threshold must be greater than 0 (got -2)",
        "line 6: notifiers.phone.url is missing; give a url, or url_file to keep it out of this file",
        'line 9: snapshots.max_bytes is not a size; write it like "500MB" or "2GiB"',
        'line 10: snapshots.keep_best must be "all" or a whole number (got "al")',
        "line 11: snapshots.keep_last must be a whole number (got 1.5)",
        'line 13: log.level must be "debug", "info", "warning" or "error" (got "loud")',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[monitor]\npoll_interval = true x\n", "line 2, column 22"),
        ("a = 1\n\na = 2\n", "line 3, column 6"),
        ("a = [1,\n", "is not valid TOML"),
        ("a = " + "[" * 5000, "is not usable: it is nested too deeply"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base_dirs = "."', "base_dirs  must be a list in [brackets]"),
        ("base_dirs = [3]", "base_dirs[1]  must be a path in quotes (got 3)"),
        ("monitor = 3", "monitor  must be a table (got 3)"),
        ("[detectors]\nnoise_guard = 7", "detectors.noise_guard  must be true or false (got 7)"),
        ('[monitor]\npoll_interval = "soon"', 'is not a duration; write it like "30s", "10m", "4h" or "7d"'),
        ("[monitor]\npoll_interval = nan", "monitor.poll_interval  must be"),
        ("[monitor]\npoll_interval = inf", "monitor.poll_interval  must be at most 3600 (got inf)"),
        ('profile = "agressive"', 'profile  names no profile; did you mean "aggressive"?'),
        ('[[hooks]]\non = ["divergance"]\nrun = ["x"]', 'hooks[1].on[1]  names an unknown kind; did you mean "diver'),
        ('[[hooks]]\non = ["divergence"]\nrun = "x y"', "hooks[1].run  must be a list of words"),
        ('heartbeat_url = "ping.example"', "heartbeat_url  must start with http:// or https://"),
        ('[[hooks]]\non = []\nrun = ["x"]', "hooks[1].on  needs at least 1 item"),
        ('[[notifiers]]\nname = "a"\nurl = "b://"\nurl_file = "c"', "give a url or a url_file, not both"),
        ('[[notifiers]]\nname = "a"\nurl = "b://"\nquiet_hours = "22-7"', 'two times of day, like "22:00-07:00"'),
        (
            '[[notifiers]]\nname = "a"\nurl = "b://"\n[[notifiers]]\nname = "a"\nurl = "b://"',
            "line 5:  notifiers.a.name  is used twice; names must differ",
        ),
        ("[[phases]]\nuntil_step = 9\n[[phases]]\nuntil_step = 8", "must be greater than that of the phase before, 9"),
    ],
)
def test_a_wrong_value_is_told_in_words(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_no_value_of_any_kind_under_any_key_gets_past_as_anything_but_a_sentence(tmp_path: Path) -> None:
    live = re.sub(r"(?m)^#(?=[\[a-z])", "", example())
    live = re.sub(r"(?m)^url_file = .*", "", live)
    rows = live.splitlines()
    junk = ["true", "-1", "inf", "nan", '"x"', '""', '"a\\u0000b"', "[]", "{}", "[[1]]", "{ name = 1 }", "2020-01-01"]
    for index, row in enumerate(rows):
        key = re.match(r"(\w+) = ", row)
        for value in junk if key else ():
            text = "\n".join([*rows[:index], f"{key[1] if key else ''} = {value}", *rows[index + 1 :]])
            message = "0 problems"
            try:
                loaded(tmp_path, text)
            except ConfigError as error:
                message = str(error)
            assert " problem" in message, (row, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base_dirs = ["a", "a/b"]', "lies inside"),
        ('base_dirs = ["a/b"]\nstate_dir = "a"', "holds the watched"),
        ('base_dirs = ["a"]\nsnapshots_dir = "a"', "holds the watched"),
        ('base_dirs = ["a"]\nsnapshots_dir = "a/checkpoint-500/kept"', "lies inside a checkpoint"),
        ('snapshots_dir = "o/s"\n[[runs]]\nname = "r"\npath = "r"\ncheckpoint_dir = "o"', "rotation may delete it"),
        ('base_dirs = ["a"]\nsnapshots_dir = "s"\nstate_dir = "s/x"', "lies inside snapshots_dir"),
    ],
)
def test_folders_that_would_swallow_each_other_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_file_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# fine\n# caf\xe9\n")
    for name, expected in (("latin.toml", "line 2 is not UTF-8"), (".", "cannot read the config file")):
        with pytest.raises(ConfigError, match=expected):
            load(Path(name), environ={}, cwd=tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "smartmon.toml").write_bytes(b"\xef\xbb\xbf[monitor]\r\nstats_every = 7\r\n")
    assert load(environ={}, cwd=tmp_path).monitor.stats_every == 7


def test_lines_are_found_past_strings_comments_and_long_lists() -> None:
    text = (
        'a = """\nb = 1\n"""\n"q k" = 1 # c = 2\nl = [\n  1,\n]\n[t . u]\nx.y = 1\n[[e]]\nn = 1\n[[e]]\nn = { m = 2 }\n'
    )
    found = lines(text)
    assert found["a",] == 1
    assert ("b",) not in found
    assert found["q k",] == 4
    assert found["t", "u", "x", "y"] == 9
    assert (found["e", 0, "n"], found["e", 1, "n"]) == (11, 13)


# Secrets

SECRET = "tgram://123456:SECRETTOKEN/987"


@pytest.mark.parametrize(
    "text",
    [
        f'[[notifiers]]\nname = "a"\nurl = "{SECRET}"\nmin_severity = "{SECRET}"\n',
        f'[[notifiers]]\nname = "a"\nurls = "{SECRET}"\n',
        f'[[notifiers]]\nname = "a"\nurl = ["{SECRET}"]\n',
        f'heartbeat_url = ["{SECRET}"]\n',
        f'[monitor]\npoll_interval = "{SECRET}"\n[log]\nlevel = "{SECRET}"\n',
        f'[[notifiers]]\nurl = "{SECRET}\n',
    ],
)
def test_no_complaint_repeats_a_secret(tmp_path: Path, text: str) -> None:
    assert "SECRET" not in complaint(tmp_path, text)


def test_urls_come_from_the_file_the_environment_or_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"# the phone\n{SECRET}\n")
    text = 'heartbeat_url = "http://x/${ID}"\n'
    for name, source in (("a", f'url = "{SECRET}"'), ("b", 'url = "x://${TOKEN}/y"'), ("c", 'url_file = "url"')):
        text += f'[[notifiers]]\nname = "{name}"\n{source}\n'
    config = loaded(tmp_path, text, {"TOKEN": "t", "ID": "7"})
    assert [notifier.resolve() for notifier in config.notifiers] == [SECRET, "x://t/y", SECRET]
    assert config.heartbeat_url is not None
    assert config.heartbeat_url.get_secret_value() == "http://x/7"
    config.require_secrets()


def test_secrets_that_cannot_be_read_stop_the_daemon_but_not_a_look(tmp_path: Path) -> None:
    text = 'heartbeat_url = "${A}"\n[[notifiers]]\nname = "n"\nurl = "x://${B}${C}"\n'
    text += '[[notifiers]]\nname = "m"\nurl_file = "gone"\n'
    config = loaded(tmp_path, text)
    assert config.secret_problems == (
        "notifiers.n: uses ${B}, ${C}, which the environment does not set",
        f"notifiers.m: cannot read url_file {tmp_path}/gone: No such file or directory",
        "heartbeat_url: uses ${A}, which the environment does not set",
    )
    with pytest.raises(ConfigError, match="gone"):
        config.require_secrets()
    with pytest.raises(ConfigError, match="notifier n: uses"):
        config.notifiers[0].resolve()


def test_nothing_that_is_shown_or_digested_holds_a_secret(tmp_path: Path) -> None:
    def build(secret: str) -> Config:
        return loaded(tmp_path, f'heartbeat_url = "http://{secret}"\n[[notifiers]]\nname = "a"\nurl = "x://{secret}"\n')

    config = build("SECRET")
    assert "SECRET" not in repr(config) + str(config) + json.dumps(config.public()) + repr(config.notifiers)
    assert build("OTHER").digest() == config.digest() != loaded(tmp_path).digest()


# What it adds up to


def test_the_judge_gets_what_the_config_says(tmp_path: Path) -> None:
    text = '[detectors]\nloss_window = 20\naccuracy_unit = "percent"\n[detectors.divergence]\nenabled = false\n'
    text += '[alerts]\nreminder = "1h"\n[snapshots]\nkinds = ["nonfinite"]\n'
    text += '[[runs]]\nname = "r"\npath = "r"\naccuracy_unit = "fraction"\n'
    settings = loaded(tmp_path, text, profile="early").judge_settings()
    assert (settings.loss_window, settings.reminder, settings.snapshot_kinds) == (20, 3600, ("nonfinite",))
    assert not settings.detectors.divergence.enabled
    assert settings.phases[0].until_step == 5000
    assert settings.accuracy_unit == "percent"
    assert loaded(tmp_path, text).judge_settings("r").accuracy_unit == "fraction"


def test_keeping_one_kind_longer_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[snapshots]\nkeep_within = { divergence = "90d" }\n')
    assert config.snapshots.keep_within == {"loss_spike": 604800, "default": 2592000, "divergence": 7776000}


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    text = '[snapshots]\nmax_bytes = "1GiB"\n[monitor]\npoll_interval = "1500ms"\n[[phases]]\nuntil_step = 3\n'
    config = loaded(tmp_path, text)
    assert Config.model_validate(config.public()).public() == config.public()
