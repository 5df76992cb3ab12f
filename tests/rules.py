"""The map from each rule of the specification to the code that keeps it and the tests that prove it.

    python -m tests.rules            write docs/rules.md
    python -m tests.rules --check    exit 1 when it is stale, or a rule of an enforced family has no proof

Reads docs/rules.toml (the rules), every module of fcweb, connectors and tracking (ids in docstrings, comments and
strings) and every test module (`@pytest.mark.rule`). Standard library alone: it runs before anything is set up.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("fcweb", "connectors", "tracking")
_ID = r"(?:[A-Z]{1,4}-[A-Z]?\d+|MT-[A-L])\b"
_SPAN = re.compile(rf"\b({_ID})(?:\s*(?:to|–)\s*({_ID})|((?:/\d+)+)\b)?")
_PARTS = re.compile(r"([A-Z]+)-([A-Z]?)(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of docs/rules.toml."""

    id: str
    family: str
    text: str
    later: str = ""  # why it needs work that is not part of the product yet
    statement: str = ""  # why there is nothing to build


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """docs/rules.toml: the rules by id, in order, and what is asked of them."""

    rules: dict[str, Rule]
    titles: dict[str, str]  # family -> heading
    enforced: frozenset[str]
    unlisted: frozenset[str]  # families that may be quoted without being listed


@dataclass(slots=True, kw_only=True)
class Proof:
    """Where a rule is kept and proved, in order of path."""

    modules: list[str] = field(default_factory=list)  # "connectors/transport/claims.py"
    tests: list[str] = field(default_factory=list)  # "tests/unit/test_imcea.py::test_name"


def read_book(path: Path) -> Book:
    """Read the rules; a value is the line itself or a table with `text` and `later` or `statement`."""
    data = tomllib.loads(path.read_text())
    rules, titles = {}, {}
    for family, entries in data.items():
        if not isinstance(entries, dict):
            continue
        titles[family] = entries.pop("title")
        for rule_id, value in entries.items():
            facts = {"text": value} if isinstance(value, str) else value
            rules[rule_id] = Rule(id=rule_id, family=family, **facts)
    return Book(rules=rules, titles=titles, enforced=frozenset(data["enforced"]), unlisted=frozenset(data["unlisted"]))


def quoted(text: str, book: Book) -> set[str]:
    """Return the ids a text quotes; "PU-1 to PU-4" means each listed rule between them, "QR-41/42" both."""
    found = set()
    for first, last, more in _SPAN.findall(text):
        found.add(first)
        if last:
            found.update(_between(first, last, book))
        found.update(f"{first.partition('-')[0]}-{number}" for number in more.split("/") if number)
    return found


def _between(first: str, last: str, book: Book) -> Iterator[str]:
    low, high = _PARTS.match(first), _PARTS.match(last)
    if not low or not high or low.group(1, 2) != high.group(1, 2):
        yield last
        return
    for rule_id in book.rules:
        this = _PARTS.match(rule_id)
        if this and this.group(1, 2) == low.group(1, 2) and int(low[3]) <= int(this[3]) <= int(high[3]):
            yield rule_id


def marked(source: str) -> dict[str, set[str]]:
    """Return the rules each test of a module is marked with.

    Understands decorators, `pytest.param(…, marks=…)`, a module's `pytestmark`, and marks made from the first
    column of a table (`marks=pytest.mark.rule(row[0])`): then the ids of the tables that the decorators name count.
    """
    tree = ast.parse(source)
    tables = {
        target.id: _first_column(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    everywhere = set().union(*(_rules_in(node, {}) for node in tree.body if _is_pytestmark(node)))
    by_test = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            ids = set(everywhere).union(*(_rules_in(decorator, tables) for decorator in node.decorator_list))
            if ids:
                by_test[node.name] = by_test.get(node.name, set()) | ids
    return by_test


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
    )


def _rules_in(node: ast.AST, tables: dict[str, set[str]]) -> set[str]:
    """Return the arguments of every `mark.rule(…)` below a node, and first columns of the tables it names."""
    ids = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "rule":
            ids.update(a.value for a in part.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
        elif isinstance(part, ast.Name):
            ids.update(tables.get(part.id, ()))
    return ids


def _first_column(node: ast.AST) -> set[str]:
    """Return the rule ids that stand first in the rows of a literal table."""
    if not isinstance(node, ast.List | ast.Tuple):
        return set()
    first = (row.elts[0] for row in node.elts if isinstance(row, ast.Tuple | ast.List) and row.elts)
    return {
        cell.value
        for cell in first
        if isinstance(cell, ast.Constant) and isinstance(cell.value, str) and re.fullmatch(_ID, cell.value)
    }


def collect(root: Path, book: Book) -> tuple[dict[str, Proof], dict[str, list[str]]]:
    """Return proofs by rule id, and the tests that quote an unknown id by that id."""
    proofs = {rule_id: Proof() for rule_id in book.rules}
    unknown: dict[str, list[str]] = {}
    for path in _python(root, CODE):
        for rule_id in quoted(path.read_text(), book):
            if rule_id in proofs:
                proofs[rule_id].modules.append(path.relative_to(root).as_posix())
    for path in _python(root, ("tests",)):
        for test, ids in marked(path.read_text()).items():
            name = f"{path.relative_to(root).as_posix()}::{test}"
            for rule_id in sorted(ids):
                if rule_id in proofs:
                    proofs[rule_id].tests.append(name)
                elif rule_id.partition("-")[0] not in book.unlisted:
                    unknown.setdefault(rule_id, []).append(name)
    return proofs, unknown


def _python(root: Path, folders: Sequence[str]) -> list[Path]:
    return sorted(p for folder in folders for p in (root / folder).rglob("*.py") if "migrations" not in p.parts)


def complaints(book: Book, proofs: dict[str, Proof], unknown: dict[str, list[str]]) -> list[str]:
    """Return what is wrong with the map, one line each."""
    lines = [f"{rule_id}: marked in {tests[0]}, not in docs/rules.toml" for rule_id, tests in sorted(unknown.items())]
    for rule in book.rules.values():
        proof = proofs[rule.id]
        if rule.later and proof.tests:
            lines.append(f"{rule.id}: said to come later, yet proved by {proof.tests[0]}")
        if rule.family not in book.enforced or rule.later or rule.statement:
            continue
        if not proof.modules and not proof.tests:
            lines.append(f"{rule.id}: no module and no test ({rule.text})")
        elif not proof.tests:
            lines.append(f"{rule.id}: no test ({rule.text})")
        elif not proof.modules:
            lines.append(f"{rule.id}: no module quotes it ({rule.text})")
    return lines


def render(book: Book, proofs: dict[str, Proof]) -> str:
    """Return docs/rules.md."""
    lines = [
        "# Rules",
        "Generated by `python -m tests.rules` from `docs/rules.toml`, the docstrings of the code and the marks of the",
        "tests. Do not edit. Modules are those that quote the rule; the tests prove it.",
    ]
    for family, title in book.titles.items():
        rows = [rule for rule in book.rules.values() if rule.family == family]
        lines += ["", f"## {family}: {title}", "", "| rule | says | modules | tests |", "|---|---|---|---|"]
        lines += [f"| {r.id} | {_said(r)} | {_modules(proofs[r.id])} | {_tests(proofs[r.id])} |" for r in rows]
    return "\n".join(lines) + "\n"


def _said(rule: Rule) -> str:
    if rule.later:
        return f"{rule.text} *(later: {rule.later})*"
    if rule.statement:
        return f"{rule.text} *(nothing to build: {rule.statement})*"
    return rule.text


def _modules(proof: Proof) -> str:
    return "<br>".join(f"`{name}`" for name in proof.modules)


def _tests(proof: Proof) -> str:
    return "<br>".join(f"`{name.removeprefix('tests/')}`" for name in proof.tests)


def main(arguments: Iterable[str] | None = None) -> int:
    """Write or check docs/rules.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.rules", description="Map rules to modules and tests.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something is wrong")
    check = parser.parse_args(None if arguments is None else list(arguments)).check
    book = read_book(ROOT / "docs" / "rules.toml")
    proofs, unknown = collect(ROOT, book)
    target = ROOT / "docs" / "rules.md"
    text = render(book, proofs)
    if not check:
        target.write_text(text)
        return 0
    wrong = complaints(book, proofs, unknown)
    if not target.exists() or target.read_text() != text:
        wrong.append("docs/rules.md is stale: run python -m tests.rules")
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
