"""In a real Chromium, in French: a new administrator makes a group, sends a file to it and sees who got it."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

MAIL = b"From: alice@fcweb.test\nTo: equipe@fcweb.test\nSubject: Planning de garde\n\nTexte\n"


def shoot(page, name):
    """Keep a picture where FCWEB_SHOTS says, for people to look at."""
    if folder := os.environ.get("FCWEB_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, caret="initial")


def add_recipient(page, address, kind, **fields):
    """Make a mailbox or a contact in the admin."""
    page.goto(f"{address}/admin/connectors/{kind}/add/")
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    page.click("[name=_save]")
    assert "ajouté" in page.inner_text(".messagelist")


def choose(page, field, text, picture=""):
    """Search somebody in a field of the form, by name or address, and take what is found."""
    page.click(f".field-{field} .select2-selection")
    page.wait_for_selector(".select2-results__option")
    page.locator(".select2-search__field:visible >> nth=-1").press_sequentially(text)
    page.wait_for_function("() => document.querySelectorAll('.select2-results__option').length === 1")
    if picture:
        shoot(page, picture)
    page.click(f".select2-results__option:has-text('{text}')")


@pytest.mark.rule("MT-K", "MTT-3", "MTT-4", "DSN-11")
def test_a_new_administrator_makes_a_group_and_sees_who_got_a_message(served, open_page, sign_in):
    address, data, password = served
    page = open_page(color_scheme="dark")
    sign_in(page, address, password, "fr")
    add_recipient(page, address, "mailbox", name="Zoé", primary_address="zoe@fcweb.test")
    add_recipient(
        page, address, "contact", name="Agence", primary_address="agence@fcweb.test", external_address="FAX:12345"
    )

    page.goto(f"{address}/admin/")
    page.click("#content-main a:has-text('Groupes de distribution')")
    page.click(".addlink:visible >> nth=-1")
    page.fill("[name=name]", "Équipe")
    page.fill("[name=primary_address]", "equipe@fcweb.test")
    choose(page, "members", "Zoé", "group-search")
    choose(page, "members", "agence@fcweb.test")
    page.select_option("[name=reports_to]", "manager")
    page.click("[name=_save]")
    assert "Indiquez le gestionnaire à qui vont les avis." in page.inner_text(".field-manager")
    shoot(page, "group-error")
    choose(page, "manager", "Alice")
    page.click("[name=_save]")
    row = page.inner_text("#result_list tr:has-text('Équipe')")
    assert row.split("\t")[2:] == ["equipe@fcweb.test", "2", "Alice <alice@fcweb.test>"]

    page.goto(f"{address}/route/?address=equipe@fcweb.test")
    assert "2 destinataires reçoivent le message à sa place" in page.inner_text("#route-explanation")
    temp = data / "pickup" / "garde.part"
    temp.write_bytes(MAIL)
    temp.rename(temp.with_suffix(".eml"))
    page.mouse.move(0, 0)  # rows wait while the pointer is over them
    page.goto(f"{address}/live/?q=event:TRANSFER")
    page.wait_for_selector("#rows tr:has-text('Planning de garde')", timeout=20_000)
    page.goto(f"{address}/tracking/?subject=Planning")
    page.click("#results a:has-text('Planning de garde') >> nth=0")

    page.wait_for_selector("#copies")
    shoot(page, "group-message")
    text = page.inner_text("main")
    assert "Le groupe equipe@fcweb.test a été remplacé par ses membres" in text
    assert "zoe@fcweb.test" in page.inner_text("#copies")
    assert "FAX:12345" in page.inner_text("#copies")
    page.click("#copies a")
    page.wait_for_selector("#copies")
    assert len(list((data / "mailboxes" / "zoe@fcweb.test" / "new").iterdir())) == 1
