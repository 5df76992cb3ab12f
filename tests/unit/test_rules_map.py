"""The rules map reads marks and docstrings as people write them, and complains about what has no proof."""

import pytest

from tests import rules

BOOK = """
enforced = ["PU"]
unlisted = ["UP"]
[PU]
title = "Pickup"
PU-1 = "one"
PU-2 = "two"
PU-4 = "four"
PU-5 = { text = "five", later = "not yet" }
PU-6 = { text = "six", statement = "Windows" }
[QR]
title = "Retry"
QR-1 = "one"
QR-2 = "two"
[IM]
title = "Vectors"
IM-V1 = "one"
IM-V2 = "two"
[MT]
title = "Flows"
MT-A = "a"
"""


@pytest.fixture
def tree(tmp_path):
    """A small repository: write(path, text) adds a file, then check() returns the complaints."""

    class Tree:
        def write(self, path, text):
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

        def check(self):
            book = rules.read_book(tmp_path / "docs/rules.toml")
            return rules.complaints(book, *rules.collect(tmp_path, book))

    tree = Tree()
    tree.write("docs/rules.toml", BOOK)
    return tree


@pytest.fixture
def book(tree, tmp_path):
    return rules.read_book(tmp_path / "docs/rules.toml")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Rules: PU-1, PU-4.", {"PU-1", "PU-4"}),
        ("PU-1 to PU-4", {"PU-1", "PU-2", "PU-4"}),
        ("PU-1–PU-2", {"PU-1", "PU-2"}),
        ("IM-V1 to IM-V2", {"IM-V1", "IM-V2"}),
        ("QR-1/2", {"QR-1", "QR-2"}),
        ("flow MT-A", {"MT-A"}),
        ("PU- rules, MT-AGENT, UTF 8", set()),
        ("PU-10", {"PU-10"}),
    ],
)
def test_ids_are_read_from_prose(book, text, ids):
    assert rules.quoted(text, book) == ids


def test_marks_are_read_from_decorators_params_tables_and_modules():
    found = rules.marked(
        """
import pytest
pytestmark = pytest.mark.rule("MT-A")
ROWS = [("IM-V1", 1), ("IM-V2", 2)]
OTHER = [("QR-1", 1)]
@pytest.mark.rule("PU-1", "PU-2")
def test_plain(): ...
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("PU-4")), 2])
async def test_param(x): ...
@pytest.mark.parametrize("x", [pytest.param(*row[1:], marks=pytest.mark.rule(row[0])) for row in ROWS])
def test_table(x): ...
class TestInside:
    def test_method(self): ...
def helper(): ...
"""
    )

    assert found == {
        "test_plain": {"PU-1", "PU-2", "MT-A"},
        "test_param": {"PU-4", "MT-A"},
        "test_table": {"IM-V1", "IM-V2", "MT-A"},
        "test_method": {"MT-A"},
    }


def test_each_enforced_rule_needs_a_module_and_a_test(tree):
    tree.write("fcweb/pickup.py", '"""Rules: PU-1, PU-2."""')
    tree.write("tests/test_x.py", "@mark.rule('PU-1', 'PU-4')\ndef test_it(): ...")

    assert tree.check() == ["PU-2: no test (two)", "PU-4: no module quotes it (four)"]


def test_an_unknown_id_and_an_overtaken_excuse_are_found(tree):
    tree.write("fcweb/pickup.py", '"""Rules: PU-1 to PU-4."""')
    tree.write("tests/test_x.py", "@mark.rule('PU-1', 'PU-2', 'PU-4', 'PU-5', 'PU-99', 'UP-3')\ndef test_it(): ...")

    assert tree.check() == [
        "PU-99: marked in tests/test_x.py::test_it, not in docs/rules.toml",
        "PU-5: said to come later, yet proved by tests/test_x.py::test_it",
    ]


def test_a_stale_page_is_found(tree, tmp_path, monkeypatch, capsys):
    tree.write("fcweb/pickup.py", '"""Rules: PU-1 to PU-4."""')
    tree.write("tests/test_x.py", "@mark.rule('PU-1', 'PU-2', 'PU-4')\ndef test_it(): ...")
    monkeypatch.setattr(rules, "ROOT", tmp_path)

    assert rules.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().out
    assert rules.main([]) == 0
    assert rules.main(["--check"]) == 0
    page = (tmp_path / "docs/rules.md").read_text()
    assert "| PU-1 | one | `fcweb/pickup.py` | `test_x.py::test_it` |" in page
    assert "| PU-5 | five *(later: not yet)* |" in page
