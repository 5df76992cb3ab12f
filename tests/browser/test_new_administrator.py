"""The first week of a new administrator, told once: in French, with the browser alone, on a served installation.

FCWEB_SCREENSHOTS names a directory for pictures of every step: wide and narrow, light and dark.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests import served as installation
from tests.browser.untranslated import english_on

SHOTS = os.environ.get("FCWEB_SCREENSHOTS", "")
VIEWS = [(1440, 900), (1024, 768), (390, 844)]
FAX = "From: {sender}\nTo: IMCEAFAX-{number}@fcweb.test\nSubject: {subject}\n\nBonjour,\nvoici le document.\n"
PASSWORD = "Passerelle-7-fax"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """An installation nobody has used yet."""
    site = installation.set_up(tmp_path_factory.mktemp("office") / "data", node="mail.fcweb.test")
    with installation.serving(site) as running:
        yield running


class Story:
    """One person at one page."""

    def __init__(self, page, site) -> None:
        self.page, self.site, self.steps = page, site, 0
        self.drop = site.data / "drop"

    def see(self, name, *words) -> None:
        """Look at the page: these words stand on it, all of it is French, nothing is wider than a narrow screen."""
        page = self.page
        page.wait_for_load_state("load")
        text = page.inner_text("body").replace("\u00a0", " ")
        assert [word for word in words if word not in text] == [], f"{name}: {text[:3000]}"
        assert english_on(page) == [], name
        self.steps += 1
        for width, height in VIEWS:
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate(TOO_WIDE) == 0, f"{name} at {width} px"
            for scheme in ("light", "dark") if SHOTS else ():
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.wait_for_timeout(100)
                path = Path(SHOTS) / f"{self.steps:02}-{name}-{width}-{scheme}.png"
                page.screenshot(path=path, full_page=True, caret="initial")
        page.set_viewport_size({"width": 1440, "height": 900})

    def wait(self, ready, *, seconds=30) -> None:
        """Look again and again until something is so."""
        until = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < until, self.page.inner_text("body")[:3000]
            self.page.wait_for_timeout(200)

    def reload_until(self, word) -> None:
        """Load the page again until a word stands on it."""

        def ready() -> bool:
            self.page.reload()
            return word in self.page.inner_text("main").replace("\u00a0", " ")

        self.wait(ready)

    def put(self, name, content) -> None:
        """Drop a file as a program does: under another name first."""
        temp = self.site.data / "pickup" / f"{name}.part"
        temp.write_text(content)
        temp.rename(temp.with_suffix(".eml"))

    def files(self, connector) -> list[Path]:
        return sorted((self.drop / connector).glob("*.eml"))

    def sign_in(self, name, password) -> None:
        page = self.page
        page.fill("[name=username]", name)
        page.fill("[name=password]", password)
        page.press("[name=password]", "Enter")
        page.wait_for_url(f"{self.site.address}/")


@pytest.mark.browser
@pytest.mark.timeout(600)
@pytest.mark.rule("FC-13", "QX-3", "QX-9", "QR-41", "PU-56", "QO-1", "QO-3", "QO-12", "QO-13")
def test_a_new_administrator_repairs_edits_and_redirects_in_french(office, open_page):
    page = open_page(locale="fr-FR", viewport={"width": 1440, "height": 900})
    page.context.add_cookies([{"name": "django_language", "value": "en", "url": office.address}])
    story = Story(page, office)
    make_the_account(story)
    make_a_second_connector(story)
    unplugged_found_repaired_and_sent(story)
    a_bad_file_is_mended_and_sent(story)
    a_wrong_connectors_queue_is_redirected(story)

    assert (len(story.files("SMS")), len(story.files("Fax"))) == (7, 5)
    assert "every recipient has one end or still waits" in office.manage("ledger", "check")


def make_the_account(story) -> None:
    """The first administrator switches to French on the sign-in page and makes nadia, no superuser."""
    page = story.page
    page.goto(f"{story.site.address}/")
    assert page.get_attribute("html", "lang") == "en"
    assert english_on(page) != [], "the net catches nothing"
    page.click("button[name=language][value=fr]")
    page.wait_for_selector("html[lang=fr]")
    story.see("connexion", "Se connecter")
    story.sign_in("admin", story.site.password)
    page.click("#nav-settings")
    story.see("reglages", "Réglages", "Journal d’audit")
    page.click("a[href='/admin/auth/user/add/']")
    page.fill("[name=username]", "nadia")
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    story.see("compte-nouveau")
    page.click("[name=_save]")
    page.check("[name=is_staff]")
    page.dblclick("#id_groups_from option:has-text('Organization Management')")
    story.see("compte", "peut lire le contenu des messages et des fichiers")
    page.click("[name=_save]")
    story.see("comptes", "nadia")
    assert page.locator("[name=is_superuser]").count() == 0
    page.click("#logout-form button")
    page.wait_for_selector("[name=username]")
    story.see("deconnectee")
    story.sign_in("nadia", PASSWORD)
    story.see("premiere-vue", "Prêt pour le premier message.")


def make_a_second_connector(story) -> None:
    """SMS is made in the settings; its directory is made on the page the list leads to."""
    page = story.page
    page.click("#nav-connectors")
    story.see("connecteurs", "1 connecteur est prêt.")
    page.click("text=Nouveau connecteur")
    page.fill("[name=name]", "SMS")
    page.fill("[name=address_spaces-0-type]", "SMS")
    page.fill("[name=address_spaces-0-space]", "*")
    page.click(".selector-chooseall >> nth=0")
    story.see("connecteur-nouveau")
    page.click("[name=_save]")
    page.wait_for_selector(".messagelist")
    story.see("connecteur-fait", "SMS")
    page.click(".dashboard-links a:has-text('Connecteurs')")
    page.click("tr:has-text('SMS') td[data-label='Répertoire de dépôt'] a")
    story.see("sms-sans-repertoire", "Il n’existe pas.", str(story.drop / "SMS"))
    page.click("#create-directory")
    page.wait_for_selector("[role=status]:has-text('est en place')")
    page.click("#test-directory")
    page.wait_for_selector("#steps")
    story.see("sms-teste", "Un fichier d’essai a été écrit, renommé et supprimé.")
    assert (story.drop / "SMS").is_dir()


def unplugged_found_repaired_and_sent(story) -> None:
    """The drop directory of Fax is away: the pages say so, with path and cure; it comes back; retry; all is quiet."""
    page, address = story.page, story.site.address
    (story.drop / "Fax").rename(story.drop / "debranche")
    story.put("devis", FAX.format(sender="alice@fcweb.test", number="+2B33199002743", subject="Devis toiture"))
    page.goto(f"{address}/")
    story.reload_until("Fax : le répertoire de dépôt n’existe pas.")
    path = str(story.drop / "Fax")
    story.see("vue-debranchee", path, "Remontez-le", "1 file attend", "répertoire de dépôt absent")
    page.click("#nav-needs")
    story.see("a-traiter-debranche", "Fax : le répertoire de dépôt n’existe pas.", path, "Remontez-le")
    page.click("#nav-queues")
    story.see("files-debranchees", "Nouvel essai", "Répertoire de dépôt absent", "Réessayer maintenant")
    page.click("button:has-text('Réessayer maintenant')")
    page.wait_for_selector("[role=status]:has-text('Fax fait un nouvel essai maintenant.')")
    story.reload_until("Nouvel essai")
    page.click("main table a:has-text('Fax') >> nth=0")
    story.see("file-debranchee", "1 message attend", "répertoire de dépôt absent", "Devis toiture")
    page.click("main table tbody a >> nth=0")
    page.wait_for_selector("#message-delivery .banner")
    story.see("message-en-attente", "Attend dans la file Fax", "Répertoire de dépôt absent")
    page.click("#nav-needs")
    page.click(".needs a.button >> nth=0")
    story.see("repertoire-debranche", "Il n’existe pas.", path, "Que faire", "1 message attend.")
    page.click("#test-directory")
    page.wait_for_selector("#steps")
    story.see("repertoire-teste", "install -d -m 2770")
    directory = page.url.removesuffix("test/")
    (story.drop / "debranche").rename(story.drop / "Fax")
    page.goto(directory)
    if page.locator("main [data-retry]").count():  # the transport, too, sees that it is back
        page.click("main [data-retry]")
        page.wait_for_selector("[role=status]:has-text('Fax')")
        told = page.inner_text("[role=status]:has-text('Fax')")
        assert "fait un nouvel essai maintenant" in told or "n’attend plus de nouvel essai" in told
        story.see("file-reessayee")
    story.wait(lambda: len(story.files("Fax")) == 1)
    page.goto(directory)
    story.see("repertoire-revenu", "Le courrier peut y être écrit.", "1 fichier attend la passerelle")
    page.goto(f"{address}/needs-you/")
    story.reload_until("Rien ne vous attend")
    story.see("rien-a-traiter")
    assert page.locator(".rail .count").count() == 0
    page.click("#nav-overview")
    story.see("vue-saine", "Tout va bien")


def a_bad_file_is_mended_and_sent(story) -> None:
    """A line that is no field: shown, mended, compared, tried dry, handed in; the original stays as it was."""
    page, address = story.page, story.site.address
    wrong = FAX.format(sender="erp@fcweb.test", number="+2B33199002743", subject="Commande 4711")
    wrong = wrong.replace("To:", "Numéro de télécopie 01 99 00 27 43\nTo:", 1)
    story.put("commande-4711", wrong)
    bad = story.site.data / "pickup" / "commande-4711.bad"
    story.wait(bad.exists)
    page.goto(f"{address}/needs-you/")
    story.reload_until("1 fichier refusé attend une décision.")
    story.see("a-traiter-fichier")
    page.click(".needs a.button >> nth=0")
    story.see("fichiers-refuses", "commande-4711.eml", "Une ligne de l’en-tête n’est ni un champ")
    page.click("main table a >> nth=0")
    assert page.inner_text(".excerpt .offender > span:last-child") == "Numéro de télécopie 01 99 00 27 43"
    story.see("fichier", "La ligne 2 et ses voisines", "Que faire")
    page.click("#edit")
    story.see("fichier-modifie", "ligne 2", "L’original est conservé.")
    text = page.input_value("[name=text]")
    page.fill("[name=text]", text.replace("Numéro de télécopie 01 99 00 27 43\n", ""))
    page.click("#check")
    page.wait_for_selector("#diff")
    assert page.inner_text(".diff .old > span:last-child") == "Numéro de télécopie 01 99 00 27 43"
    story.see("fichier-verifie", "Vos modifications", "Le fichier serait accepté", "part par le connecteur « Fax »")
    assert len(story.files("Fax")) == 1, "a dry run sends nothing"
    page.click("#resubmit-changed")
    page.wait_for_selector("[role=status]")
    story.see("fichier-remis", "L’original reste sous le nom commande-4711.bad.")
    story.wait(lambda: len(story.files("Fax")) == 2)
    assert any("Commande 4711" in path.read_text() for path in story.files("Fax"))
    assert bad.read_text() == wrong


def a_wrong_connectors_queue_is_redirected(story) -> None:
    """Half a queue goes to another gateway: filter, count, sample, consequence, reason, result, audit, timeline, files."""
    page, address = story.page, story.site.address
    (story.drop / "Fax").rename(story.drop / "debranche")
    for number in range(7):
        letter = FAX.format(sender="alice@fcweb.test", number=f"+2B3319900274{number}", subject=f"Rappel {number}")
        story.put(f"rappel-{number}", letter)
    for number in range(3):
        story.put(f"lot-{number}", FAX.format(sender="erp@fcweb.test", number=f"55{number}", subject=f"Lot {number}"))
    page.goto(f"{address}/queues/")
    story.reload_until("1 file attend")
    page.click("main table a:has-text('Fax') >> nth=0")
    story.reload_until("10 messages attendent")
    page.fill("#filter", "Subject -lik 'Rappel*'")
    page.click("text=Appliquer")
    story.see("filtre-faux", "Subject ne se compare pas avec -lik", "Tous les messages sont affichés.")
    page.fill("#filter", "Subject -like 'Rappel*'")
    page.click("text=Appliquer")
    assert page.locator("tbody input[name=item]").count() == 7
    story.see("filtre", "les 7 messages qui correspondent")
    page.click(".bulk-bar button[value=redirect]")
    offered = page.locator("[name=connector] option").all_inner_texts()
    assert [text for text in offered if not text.startswith("-")] == ["SMS"]
    story.see(
        "confirmer", "Rediriger 7 messages", "Ils passent dans la file d’un autre connecteur", "Rappel 6", "Motif"
    )
    page.select_option("[name=connector]", label="SMS")
    page.fill("[name=reason]", "Mauvais connecteur : ces rappels partent par SMS")
    page.click("#confirm")
    page.wait_for_selector("#operation")
    story.see("operation", "Terminé. 7 messages ont été traités.", "Mauvais connecteur", "en échec", "restants")
    figures = page.locator("#operation .figure b").all_inner_texts()
    assert figures == ["7", "0", "0", "0"]
    story.wait(lambda: len(story.files("SMS")) == 7)
    page.click("text=Entrées du journal d’audit")
    page.wait_for_selector("#result_list")
    story.see("audit", "nadia", "Mauvais connecteur : ces rappels partent par SMS")
    page.click("#result_list a >> nth=-1")
    story.see("audit-entree", "Motif : Mauvais connecteur", "messages : 7")
    page.goto(f"{address}/tracking/?q=subject:Rappel")
    story.see("suivi", "Rappel 3")
    page.click("main table a:has-text('Rappel 3') >> nth=0")
    page.wait_for_selector("#message-delivery section")
    told = (
        "Redirigé vers SMS par un administrateur.",
        "Redirigé vers un autre connecteur. nadia",
        "Transmis à la passerelle SMS",
    )
    story.see("message-redirige", *told)
    page.goto(f"{address}/queues/")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    story.see("touches", "réessayer la file de la ligne")
    page.keyboard.press("Escape")
    (story.drop / "debranche").rename(story.drop / "Fax")
    page.focus("main table a:has-text('Fax') >> nth=0")
    page.keyboard.press("r")
    story.wait(lambda: len(story.files("Fax")) == 5)
