"""Whole tasks by keyboard alone: search, rows, menus, dialogs; the focus is always seen."""

import pytest

pytestmark = pytest.mark.browser

FOCUS = "document.activeElement"


@pytest.fixture
def page(open_page, filled, sign_in):
    """A signed-in page on the overview."""
    page = open_page(reduced_motion="reduce")
    sign_in(page, filled.address, filled.password)
    return page


def test_the_skip_link_leads_past_the_rail(page):
    page.keyboard.press("Tab")
    assert page.evaluate(f"{FOCUS}.className") == "skip-link"
    assert page.locator(".skip-link").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate(f"{FOCUS}.id") == "content"


def test_slash_reaches_the_search_box_and_enter_searches(page, filled):
    page.keyboard.press("/")
    assert page.evaluate(f"{FOCUS}.id") == "search"
    page.keyboard.type("order")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{filled.address}/tracking/?q=order")


def test_question_mark_shows_the_keys_and_escape_closes_them(page):
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()


def test_j_and_k_walk_the_rows_and_enter_opens_one(page, filled):
    page.goto(f"{filled.address}/bad-files/")
    page.keyboard.press("j")
    first = page.evaluate(f"{FOCUS}.getAttribute('href')")
    assert first == page.get_attribute(".table tbody a >> nth=0", "href")
    page.keyboard.press("j")
    assert page.evaluate(f"{FOCUS}.getAttribute('href')") != first
    page.keyboard.press("k")
    assert page.evaluate(f"{FOCUS}.getAttribute('href')") == first
    page.keyboard.press("Enter")
    page.wait_for_url(f"{filled.address}{first}")


def test_keys_are_letters_inside_a_field(page):
    page.keyboard.press("/")
    page.keyboard.type("j?k/")
    assert page.input_value("#search") == "j?k/"
    assert not page.locator("#keys").is_visible()


def test_escape_closes_the_account_menu_and_gives_the_focus_back(page):
    page.focus("details.menu summary")
    page.keyboard.press("Enter")
    assert page.locator("#logout").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert not page.locator("#logout").is_visible()
    assert page.evaluate(f"{FOCUS}.tagName") == "SUMMARY"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_whatever_has_the_focus_is_seen(open_page, filled, sign_in, theme):
    page = open_page(color_scheme=theme, reduced_motion="reduce")
    sign_in(page, filled.address, filled.password)
    unseen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate(f"getComputedStyle({FOCUS}).outlineStyle")
        if outline == "none":
            unseen.append(page.evaluate(f"{FOCUS}.outerHTML.slice(0, 120)"))
    assert unseen == []


def test_the_narrow_menu_opens_takes_the_focus_and_closes(open_page, filled, sign_in):
    page = open_page(viewport={"width": 390, "height": 800}, reduced_motion="reduce")
    sign_in(page, filled.address, filled.password)
    assert not page.locator("#nav-queues").is_visible()
    page.focus("[data-rail-toggle]")
    page.keyboard.press("Enter")
    assert page.locator("#nav-queues").is_visible()
    assert page.evaluate(f"{FOCUS}.closest('#rail') !== null")
    page.keyboard.press("Escape")
    assert page.get_attribute("[data-rail-toggle]", "aria-expanded") == "false"
    assert page.evaluate(f"{FOCUS}.hasAttribute('data-rail-toggle')")


def test_nothing_moves_where_motion_is_not_wanted(page):
    page.goto(page.url)
    durations = page.evaluate(
        "[...document.querySelectorAll('*')].map(e => getComputedStyle(e)).filter("
        "s => s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0).length"
    )
    assert durations == 0
