"""What holds for the whole tree: who imports whom, what each command, setting, template, page and socket must have."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from connectors.websocket_urls import websocket_urlpatterns as queue_sockets
from fcweb.asgi import application
from tracking.websocket_urls import websocket_urlpatterns as event_sockets

ROOT = Path(__file__).resolve().parents[2]
OURS = ("fcweb", "connectors", "tracking")

# The ladder: a module imports its own rung and the rungs before it; the longest prefix decides the rung.
LADDER = [
    (
        "base",
        "fcweb.env fcweb.http fcweb.logs fcweb.bulk fcweb.one_writer fcweb.storage fcweb.serve fcweb.sockets "
        "fcweb.shared_reader",
    ),
    ("vocabulary", "connectors.mail connectors.choices connectors.errors connectors.conf tracking.choices"),
    ("rows", "connectors.models tracking.models"),
    ("resolver", "connectors.transport.routing connectors.transport.expansion"),  # pure: read by domain, too
    ("domain", "connectors tracking"),
    ("stages", "connectors.transport"),
    ("loop", "connectors.transport.runner connectors.transport.service"),
    (
        "web",
        "fcweb connectors.admin connectors.apps connectors.consumers connectors.demo connectors.forms connectors.management connectors.reads "
        "connectors.templatetags connectors.urls connectors.views connectors.websocket_urls tracking.admin tracking.apps "
        "tracking.consumers tracking.forms tracking.management tracking.templatetags tracking.urls tracking.views "
        "tracking.websocket_urls",
    ),
]
STAGES = {f"connectors.transport.{name}" for name in ("pickup", "replay", "categorizer", "delivery", "reports")}
LONG_MODULES = {  # over 400 lines: one noun that would be harder to follow in two places
    "connectors/transport/routing.py": "the resolver and its explanation are one decision",
    "tracking/record.py": "one typed function per event, and the only writer of events",
}
PUBLIC_PAGES = {"login", "logout", "set_language", "healthz", "readyz", "admin:login", "admin:logout"}


@cache
def modules():
    """Return {dotted name: (path, syntax tree)} of the product, migrations left out."""
    found = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                found[name] = (path, ast.parse(path.read_text()))
    return found


def imported(node):
    """Return what an import statement names, modules where the name is a module of ours."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in modules() else node.module for name in full]
    return []


@cache
def imports():
    """Return {module: modules it imports, anywhere in it}."""
    return {
        name: {target for node in ast.walk(tree) for target in imported(node)} - {name}
        for name, (_path, tree) in modules().items()
    }


def rung(module):
    """Return the number of the rung of a module."""
    prefixes = [(prefix, number) for number, (_name, text) in enumerate(LADDER) for prefix in text.split()]
    return max((len(p), n) for p, n in prefixes if module == p or module.startswith(p + "."))[1]


def is_ours(module):
    return module.partition(".")[0] in OURS


def test_no_import_points_up_the_ladder():
    wrong = [
        f"{name} ({LADDER[rung(name)][0]}) imports {target} ({LADDER[rung(target)][0]})"
        for name, targets in imports().items()
        for target in sorted(filter(is_ours, targets))
        if rung(target) > rung(name)
    ]

    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    state: dict[str, str] = {}
    circles = []

    def visit(name, trail):
        state[name] = "open"
        for target in imports().get(name, ()):
            if state.get(target) == "open":
                circles.append([*trail, name, target])
            elif target in modules() and target not in state:
                visit(target, [*trail, name])
        state[name] = "done"

    for name in modules():
        if name not in state:
            visit(name, [])

    assert circles == []


def test_stages_meet_only_in_tables():
    assert {name: imports()[name] & STAGES for name in STAGES} == {name: set() for name in STAGES}


def test_tracking_knows_no_connectors():
    wrong = [name for name in imports() if name.startswith("tracking") for t in imports()[name] if "connectors" in t]

    assert wrong == []


def test_mail_words_need_the_standard_library_alone():
    foreign = {
        f"{name}: {target}"
        for name, targets in imports().items()
        if name.startswith("connectors.mail.")
        for target in targets
        if not target.startswith("connectors.mail") and target.partition(".")[0] not in sys.stdlib_module_names
    }

    assert foreign == set()


def test_no_import_hides_in_a_function():
    hidden = {
        f"{name}: {ast.unparse(statement)}"
        for name, (path, tree) in modules().items()
        if path.name != "apps.py"  # Django: models exist only once ready() is called
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in ast.walk(function)
        if any(map(is_ours, imported(statement)))
    }

    assert hidden == set()


def test_long_modules_are_listed_with_a_reason():
    long = {
        path.relative_to(ROOT).as_posix()
        for path, _tree in modules().values()
        if len(path.read_text().splitlines()) > 400
    }

    assert long <= set(LONG_MODULES)


def commands():
    return {
        path.stem
        for package in OURS
        for path in (ROOT / package).glob("management/commands/*.py")
        if path.stem != "__init__"
    }


def commands_run_by_tests():
    """Return the commands that tests hand to call_command, by a helper of theirs too, or after "manage.py" in a list."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text())
        runners = {"call_command"} | {
            function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and "call_command(*" in ast.unparse(function)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in runners and node.args:
                found.update(words_of(node.args[:1]))
            elif isinstance(node, ast.List | ast.Tuple):
                pairs = zip(node.elts, node.elts[1:], strict=False)
                found.update(*(words_of([word]) for before, word in pairs if "manage" in ast.unparse(before)))
    return found


def words_of(nodes):
    return {
        part.value
        for node in nodes
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_every_command_is_run_by_a_test():
    assert commands() - commands_run_by_tests() == set()


def test_every_command_stands_in_the_readme():
    text = (ROOT / "README.md").read_text()

    assert {name for name in commands() if f"`{name}" not in text and f"manage.py {name}" not in text} == set()


def settings_read():
    """Return the FCWEB_ variables that fcweb/settings.py reads."""
    return {
        node.args[0].value
        for node in ast.walk(modules()["fcweb.settings"][1])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").startswith("env_")
    }


def test_every_setting_is_documented_and_none_is_invented():
    written = set(re.findall(r"`(FCWEB_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))

    assert {name for name in written if not name.endswith("_FILE")} == settings_read()


def test_only_the_settings_read_the_environment():
    readers = {
        name
        for name, (_path, tree) in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and name != "fcweb.asgi"
        if not (isinstance(node.value, ast.Name) and node.value.id == "environ")
    }

    assert readers <= {"fcweb.env", "fcweb.settings"}


INLINE = re.compile(r"<style|\sstyle\s*=|<[^>]*\son[a-z]+\s*=|<script(?![^>]*\bsrc=)|javascript:", re.IGNORECASE)


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<p style="color:red">', True),
        ('<a href="#" onclick="go()">', True),
        ("<script>go()</script>", True),
        ('<a href="javascript:go()">', True),
        ('<script src="a.js" defer></script>', False),
        ('{% include "x.html" with icon_name="ok" %}', False),
        ('<button class="icon-button" aria-label="On">', False),
    ],
)
def test_the_pattern_finds_inline_code(html, found):
    assert bool(INLINE.search(html)) == found


def test_no_template_has_inline_style_script_or_handler():
    inline = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in INLINE.finditer(re.sub(r"{#.*?#}", "", path.read_text()))
    }

    assert inline == set()


def pages(resolver=None, prefix="/", namespace=""):
    """Yield (name, path) of every page, arguments filled with 1; Django's catch-alls have no path of their own."""
    for entry in (resolver or get_resolver()).url_patterns:
        if not isinstance(entry.pattern, RoutePattern):
            continue
        path = prefix + re.sub(r"<(?:\w+:)?\w+>", "1", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from pages(entry, path, namespace + (f"{entry.namespace}:" if entry.namespace else ""))
        elif isinstance(entry, URLPattern):
            yield f"{namespace}{entry.name}", path


def refused(response):
    """Tell whether an answer is a way to the sign-in page, or a plain no."""
    if response.status_code == 302:
        return response.headers["Location"].partition("?")[0] in {"/login/", "/admin/login/"}
    return response.status_code in {401, 403}


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_page_refuses_anonymous_people(method):
    """Without a database: a page that asks it anything before it refuses fails here too."""
    found = dict(pages())
    open_to_all = {
        name
        for name, path in found.items()
        if name not in PUBLIC_PAGES and not refused(getattr(Client(), method)(path))
    }

    assert open_to_all == set()
    assert {"overview", "queues", "live", "message", "admin:index", "admin:connectors_node_change"} <= set(found)


@pytest.mark.django_db  # a thread that had a connection looks whether it is still good
async def test_every_socket_refuses_anonymous_people():
    answers = {}
    for pattern in [*event_sockets, *queue_sockets]:
        path = "/" + re.sub(r"<(?:\w+:)?\w+>", "1", str(pattern.pattern))
        scope = {"type": "websocket", "path": path, "query_string": b"", "subprotocols": []}
        socket = ApplicationCommunicator(application, scope | {"headers": [(b"origin", b"http://localhost")]})
        await socket.send_input({"type": "websocket.connect"})
        answers[path] = (await socket.receive_output())["type"]
        await socket.wait()

    assert set(answers) == {"/ws/live/", "/ws/queues/"}
    assert set(answers.values()) == {"websocket.close"}


MACHINE = re.compile(r"(?<![\w./-])/(?:work|root|home|Users)/\w")
GENERATED = {"var", "__pycache__", "screenshots", "staticfiles"}


def test_no_path_of_a_machine_stands_in_the_tree():
    wrong = set()
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = parts[0].startswith(".") and parts[0] != ".ci"
        if hidden or GENERATED & set(parts) or path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        wrong.update(f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE.finditer(text))

    assert wrong == set()


def test_every_document_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} | {"CONTRIBUTING.md"}

    assert {name for name in documents if f"({name})" not in readme} == set()


def test_links_between_documents_lead_somewhere():
    broken = set()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if not target.startswith(("http", "mailto:")) and not (path.parent / target).exists():
                broken.add(f"{path.relative_to(ROOT)}: {target}")

    assert broken - {"README.md: docs/images/overview.png"} == set()
