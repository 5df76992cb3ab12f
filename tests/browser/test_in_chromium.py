"""In a real Chromium: a connector is made, its file arrives live, is opened and found again; both languages."""

import pytest

pytestmark = pytest.mark.browser

WORDS = {
    "en": {"made": "was added successfully", "handed": "Handed to gateway", "live": "Live"},
    "fr": {"made": "ajouté", "handed": "Transmis à la passerelle", "live": "En direct"},
}


def create_connector(page, address, name, kind, language):
    """Make a connector with one address space in the admin and create its directory by the action."""
    page.goto(f"{address}/admin/connectors/foreignconnector/add/")
    page.fill("[name=name]", name)
    page.fill("[name=address_spaces-0-type]", kind)
    page.fill("[name=address_spaces-0-space]", "*")
    page.click(".selector-chooseall >> nth=0")
    page.click("[name=_save]")
    assert WORDS[language]["made"] in page.inner_text(".messagelist")
    page.check(f"#result_list tr:has-text('{name}') .action-select")
    page.select_option("select[name=action]", "create_directory")
    page.click("button[name=index]")
    page.wait_for_selector(".messagelist")


@pytest.mark.rule("PU-1", "MTL-1", "MTL-2", "MTL-4", "FC-1", "FC-7", "FC-13", "FC-24")
@pytest.mark.parametrize(("language", "name", "kind"), [("en", "SMS Gate", "SMS"), ("fr", "Passerelle SAP", "SAP")])
def test_a_new_connectors_file_arrives_live_and_is_found_again(served, page, sign_in, language, name, kind):
    address, data, password = served
    sign_in(page, address, password, language)
    create_connector(page, address, name, kind, language)
    assert (data / "drop" / name).is_dir()

    page.goto(f"{address}/live/")
    assert page.inner_text("h1") == WORDS[language]["live"]
    page.wait_for_selector("#live-state[data-state=live]")
    subject = f"Bonjour {kind}"
    temp = data / "pickup" / f"{kind}.part"
    temp.write_bytes(f"From: alice@fcweb.test\nTo: IMCEA{kind}-5551234@fcweb.test\nSubject: {subject}\n\nB\n".encode())
    temp.rename(temp.with_suffix(".eml"))

    page.wait_for_selector(f"#rows tr:has-text('SEND'):has-text('{subject}')", timeout=20_000)
    assert len(list((data / "drop" / name).glob("*.eml"))) == 1
    page.goto(f"{address}/tracking/?subject={subject}")
    page.click(f"a:has-text('{subject}') >> nth=0")
    assert "/message/" in page.url
    assert f"{WORDS[language]['handed']} {name}" in page.inner_text("main")


@pytest.mark.rule("MTL-1")
def test_arriving_rows_move_nothing_above_them(served, page, sign_in):
    address, data, password = served
    sign_in(page, address, password)
    page.goto(f"{address}/live/")
    page.wait_for_selector("#live-state[data-state=live]")
    place = page.locator("h1").bounding_box()
    for number in range(3):
        temp = data / "pickup" / f"shift{number}.part"
        temp.write_bytes(b"From: alice@fcweb.test\nTo: IMCEAFAX-5551234@fcweb.test\nSubject: Shift\n\nBody\n")
        temp.rename(temp.with_suffix(".eml"))
    page.wait_for_selector("#rows tr:has-text('Shift') >> nth=5", timeout=20_000)
    assert page.locator("h1").bounding_box() == place
    header = page.locator("#rows").locator("xpath=ancestor::table").locator("thead")
    assert header.bounding_box()["y"] > place["y"]


def test_the_language_switch_keeps_the_page(served, page, sign_in):
    address, _data, password = served
    sign_in(page, address, password)
    page.goto(f"{address}/route/?address=FAX:5551234")
    page.click(".bar button[name=language][value=fr]")
    page.wait_for_selector("html[lang=fr]")
    assert page.url == f"{address}/route/?address=FAX:5551234"
    assert page.inner_text("h1") == "Quel chemin\u00a0?"


def test_anonymous_visitors_see_only_the_login_page(served, page):
    address, _data, _password = served
    for path in (
        "/",
        "/live/",
        "/tracking/",
        "/message/1/",
        "/queues/",
        "/bad-files/",
        "/connectors/",
        "/route/",
        "/admin/",
    ):
        page.goto(address + path)
        assert "/login/" in page.url, path


def test_a_wrong_password_says_what_happened_without_naming_the_part(served, page):
    address, _data, _password = served
    page.goto(f"{address}/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", "not the password")
    page.press("[name=password]", "Enter")
    page.wait_for_selector("[role=alert]")
    assert page.locator("[role=alert]").inner_text().strip()
