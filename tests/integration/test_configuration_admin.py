"""The admin of the configuration: refused with the code, warned, confirmed, audited (FC-E1 to FC-E12, RT-52)."""

import pytest
from auditlog.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from connectors.choices import ItemState
from connectors.models import (
    AcceptedDomain,
    AddressSpace,
    ConfigGeneration,
    DirectoryRecipient,
    ForeignConnector,
    Node,
    QueueItem,
)
from connectors.urls import urlpatterns as connector_pages

pytestmark = pytest.mark.django_db(transaction=True)

OPEN_PAGES = ["overview", "needs"]  # each part of them asks for its own permission
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"


@pytest.fixture
def browser(site, client):
    client.force_login(get_user_model().objects.get(username="admin"))
    return client


def fax():
    return ForeignConnector.objects.get(name="Fax")


def change_url(connector=None):
    if connector is None:
        return reverse("admin:connectors_foreignconnector_add")
    return reverse("admin:connectors_foreignconnector_change", args=[connector.pk])


def form(connector=None, *, spaces=(("FAX", "*", 1),), **changes):
    """Return the fields the page posts: those of the connector as it is, and the changes."""
    rows = list(connector.address_spaces.all()) if connector else []
    data = {
        "name": connector.name if connector else "Fax2",
        "enabled": "on",
        "source_transport_servers": [node.pk for node in Node.objects.all()],
        "drop_directory": connector.drop_directory if connector else "",
        "drop_directory_quota": "unlimited",
        "max_message_bytes": "unlimited",
        "comment": connector.comment if connector else "",
        "address_spaces-TOTAL_FORMS": max(len(rows), len(spaces)),
        "address_spaces-INITIAL_FORMS": len(rows),
        "address_spaces-MIN_NUM_FORMS": 1,
        "address_spaces-MAX_NUM_FORMS": 1000,
    }
    for number, (kind, space, cost) in enumerate(spaces):
        prefix = f"address_spaces-{number}"
        data |= {f"{prefix}-type": kind, f"{prefix}-space": space, f"{prefix}-cost": cost}
        if number < len(rows):
            data |= {f"{prefix}-id": rows[number].pk, f"{prefix}-connector": connector.pk}
    data |= changes
    return {name: value for name, value in data.items() if value is not None}


def codes(response):
    """Return the codes of every error on the page."""
    page = response.context["adminform"].form
    found = {error.code for errors in page.errors.as_data().values() for error in errors}
    for inline in response.context["inline_admin_formsets"]:
        found |= {error.code for error in inline.formset.non_form_errors().as_data()}
        for row in inline.formset.forms:
            found |= {error.code for errors in row.errors.as_data().values() for error in errors}
    return found


@pytest.mark.rule("FC-5", "FC-7", "FC-W1")
def test_a_connector_is_made_with_sizes_as_people_write_them(browser):
    response = browser.post(change_url(), form(drop_directory_quota="2gb", max_message_bytes="10 MB"), follow=True)

    connector = ForeignConnector.objects.get(name="Fax2")
    assert (connector.drop_directory_quota, connector.max_message_bytes) == (2 * 1024**3, 10 * 1024**2)
    assert [str(space) for space in connector.address_spaces.all()] == ["FAX:*;1"]
    assert any("does not exist" in str(message) for message in response.context["messages"])
    page = browser.get(change_url(connector)).content.decode()
    assert 'value="2GB"' in page
    assert 'value="10MB"' in page


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"name": "a/b"}, "CONNECTOR_NAME_INVALID", marks=pytest.mark.rule("FC-E1", "FC-3")),
        pytest.param({"name": "FAX"}, "CONNECTOR_NAME_EXISTS", marks=pytest.mark.rule("FC-E2", "FC-2")),
        pytest.param({"spaces": ()}, "ADDRESS_SPACE_REQUIRED", marks=pytest.mark.rule("FC-E4")),
        pytest.param({"spaces": (("SMTP", "*x.y", 1),)}, "ADDRESS_SPACE_INVALID", marks=pytest.mark.rule("FC-E5")),
        pytest.param(
            {"spaces": (("FAX", "1", 1), ("fax", "1", 2))}, "ADDRESS_SPACE_INVALID", marks=pytest.mark.rule("AS-8")
        ),
        pytest.param({"max_message_bytes": "1PB"}, "SIZE_RANGE", marks=pytest.mark.rule("FC-E7")),
        pytest.param({"drop_directory_quota": "0"}, "SIZE_RANGE", marks=pytest.mark.rule("FC-E7")),
        pytest.param({"drop_directory": "../x"}, "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-E9", "DR-10")),
        pytest.param({"drop_directory": "Fax"}, "DROP_PATH_IN_USE", marks=pytest.mark.rule("FC-E11", "FC-17")),
    ],
)
def test_what_is_wrong_is_refused_with_its_code(browser, changes, code):
    response = browser.post(change_url(), form(**changes))

    assert code in codes(response)
    assert ForeignConnector.objects.count() == 1


@pytest.mark.rule("FC-E8", "DR-5")
def test_an_absolute_directory_is_refused_while_a_root_is_set(browser, tmp_path):
    Node.objects.update(root_drop_directory_path=str(tmp_path))

    response = browser.post(change_url(fax()), form(fax(), drop_directory="/srv/fax"))

    assert "DROP_ROOT_CONFLICT" in codes(response)


@pytest.mark.rule("FC-E6")
def test_a_cost_out_of_range_is_refused(browser):
    browser.post(change_url(), form(spaces=(("FAX", "1", 101),)))

    assert ForeignConnector.objects.count() == 1


@pytest.mark.rule("FC-8", "RT-24", "FC-4")
def test_a_save_warns_of_what_needs_attention(browser):
    browser.post(change_url(), form(name="All", spaces=(("FAX", "*", 1),)))

    response = browser.post(
        change_url(fax()), form(fax(), name="Narrow", spaces=(("FAX", "555*", 1),), max_message_bytes="0"), follow=True
    )

    said = " ".join(str(message) for message in response.context["messages"])
    assert "The size limit 0 lets nothing through" in said
    assert "Mail for FAX:555*;1 that is too large for “Narrow” leaves by “All” instead." in said
    assert "it was “Fax” and is now “Narrow”" in said


def test_every_field_has_help_or_is_plain(browser):
    page = browser.get(change_url(fax())).context["adminform"].form

    assert [name for name, field in page.fields.items() if not field.help_text] == []


class TestReroute:
    @pytest.fixture
    def waiting(self, site, pickup, transport):
        ForeignConnector.objects.update(is_held=True)
        pickup("offer.eml", FAX)
        transport()

    @pytest.mark.rule("RT-52", "RT-25")
    def test_a_save_that_reroutes_shows_the_count_first(self, browser, waiting):
        before = ConfigGeneration.current()
        LogEntry.objects.all().delete()

        page = browser.post(change_url(fax()), form(fax(), enabled=None))

        text = page.content.decode()
        assert "1 message in the queue FAX is routed again." in text
        assert "Of 1 recipients looked at, 1 are returned to their senders." in text
        assert (fax().enabled, ConfigGeneration.current(), LogEntry.objects.count()) == (True, before, 0)

    @pytest.mark.rule("RT-52")
    def test_confirmed_it_is_saved_and_routed(self, browser, waiting, transport):
        page = browser.post(change_url(fax()), form(fax(), enabled=None))
        again = dict(page.context["fields"])
        again["source_transport_servers"] = [v for n, v in page.context["fields"] if n == "source_transport_servers"]

        browser.post(change_url(fax()), again | {"confirm_reroute": "1"})
        transport()

        assert fax().enabled is False
        assert not QueueItem.objects.filter(state=ItemState.READY, queue__connector_name="Fax").exists()

    @pytest.mark.rule("RT-53")
    def test_other_changes_are_saved_at_once(self, browser, waiting):
        before = ConfigGeneration.current()

        browser.post(change_url(fax()), form(fax(), is_held="on", comment="words", drop_directory_quota="1GB"))

        assert (fax().comment, fax().drop_directory_quota) == ("words", 1024**3)
        assert ConfigGeneration.current() == before

    @pytest.mark.rule("FC-22")
    def test_a_removal_shows_what_waits(self, browser, waiting):
        url = reverse("admin:connectors_foreignconnector_delete", args=[fax().pk])

        text = browser.get(url).content.decode()
        assert "Fax: 1 message in the queue FAX is routed again." in text
        browser.post(url, {"post": "yes"})
        assert ForeignConnector.objects.count() == 0


@pytest.mark.rule("FC-13", "DR-11")
def test_actions_test_and_create_the_directory(browser, site):
    site.drop.rmdir()
    url = reverse("admin:connectors_foreignconnector_changelist")

    def act(name):
        response = browser.post(url, {"action": name, "_selected_action": [fax().pk]}, follow=True)
        return " ".join(str(message) for message in response.context["messages"])

    assert "does not exist" in act("test_directory")
    assert not site.drop.exists()
    assert "is there" in act("create_directory")
    assert "A test file was written, renamed and deleted." in act("test_directory")


class TestPermission:
    @pytest.mark.rule("FC-E12")
    def test_only_people_with_the_permission_change_connectors(self, site, client):
        desk = get_user_model().objects.create_user("desk", password="x" * 12, is_staff=True)
        client.force_login(desk)

        assert client.get(change_url(fax())).status_code == 403
        assert client.post(change_url(fax()), form(fax(), comment="mine")).status_code == 403
        assert client.post(change_url(), form()).status_code == 403
        assert (fax().comment, ForeignConnector.objects.count()) == ("FAX:*", 1)

    def test_the_actions_need_it_too(self, site, client):
        desk = get_user_model().objects.create_user("desk", password="x" * 12, is_staff=True)
        desk.user_permissions.add(Permission.objects.get(codename="view_foreignconnector"))
        client.force_login(desk)
        site.drop.rmdir()
        url = reverse("admin:connectors_foreignconnector_changelist")

        client.post(url, {"action": "create_directory", "_selected_action": [fax().pk]})

        assert not site.drop.exists()

    @pytest.mark.parametrize(
        ("name", "args"),
        [(page.name, [1] * len(page.pattern.converters)) for page in connector_pages if page.name not in OPEN_PAGES],
    )
    def test_no_page_opens_without_its_permission(self, site, client, name, args):
        client.force_login(get_user_model().objects.create_user("stranger", password="x" * 12))

        address = reverse(name, args=args)
        statuses = {client.get(address, follow=True).status_code, client.post(address).status_code}

        assert 403 in statuses
        assert statuses <= {403, 405}

    @pytest.mark.parametrize("name", OPEN_PAGES)
    def test_pages_open_to_all_tell_a_stranger_of_no_connector(self, site, browser, name):
        site.drop.rmdir()
        assert str(site.drop) in browser.get(reverse(name)).content.decode()

        browser.force_login(get_user_model().objects.create_user("stranger", password="x" * 12))

        assert str(site.drop) not in browser.get(reverse(name)).content.decode()


class TestAudit:
    def test_a_change_names_who_before_and_after(self, browser):
        Node.objects.create(name="hub1", fqdn="hub1")
        LogEntry.objects.all().delete()

        browser.post(change_url(fax()), form(fax(), comment="new", spaces=(("FAX", "*", 1), ("SMS", "*", 2))))

        assert {entry.actor.username for entry in LogEntry.objects.all()} == {"admin"}
        changed = LogEntry.objects.filter(content_type__model="foreignconnector")
        assert [e.changes["comment"] for e in changed if "comment" in e.changes] == [["FAX:*", "new"]]
        assert [e.changes["source_transport_servers"]["objects"] for e in changed if "comment" not in e.changes] == [
            ["hub1"]
        ]
        assert LogEntry.objects.get(content_type__model="addressspace").changes["type"] == ["None", "SMS"]

    def test_each_row_of_a_bulk_removal(self, browser):
        browser.post(change_url(), form())
        LogEntry.objects.all().delete()

        browser.post(
            reverse("admin:connectors_foreignconnector_changelist"),
            {
                "action": "delete_selected",
                "_selected_action": list(ForeignConnector.objects.values_list("pk", flat=True)),
                "post": "yes",
            },
        )

        deleted = LogEntry.objects.filter(action=LogEntry.Action.DELETE)
        assert deleted.filter(content_type__model="foreignconnector").count() == 2
        assert deleted.filter(content_type__model="addressspace").count() == 2
        assert {entry.actor.username for entry in deleted} == {"admin"}
        assert AddressSpace.objects.count() == 0


class TestNode:
    def url(self):
        return reverse("admin:connectors_node_change", args=[Node.objects.get().pk])

    def data(self, **changes):
        node = Node.objects.get()
        columns = ("name", "fqdn", "site", "pickup_directory_path", "replay_directory_path", "pickup_max_recipients")
        data = {column: getattr(node, column) for column in columns}
        data |= {"pickup_max_header_bytes": "64KB", "max_message_bytes": "10MB", "max_recipients": 5000}
        data |= {"max_receive_bytes": "10MB", "max_hops": 30, "max_local_hops": 8}
        inlines = ("submitter_addresses", "transport_settings")
        forms = {f"{inline}-{name}_FORMS": 0 for inline in inlines for name in ("TOTAL", "INITIAL")}
        return data | forms | {"settle_seconds": 2, "write_bad_txt": "on"} | changes

    @pytest.mark.rule("PU-22", "UP-12")
    def test_the_form_and_the_save_say_how_many_files_stay(self, browser, pickup, tmp_path):
        pickup("a.eml", b"x")
        assert "1 file lies there now" in browser.get(self.url()).content.decode()

        (tmp_path / "new").mkdir()
        response = browser.post(self.url(), self.data(pickup_directory_path=str(tmp_path / "new")), follow=True)

        assert any("1 files stay in" in str(message) for message in response.context["messages"])
        assert Node.objects.get().pickup_directory_path == str(tmp_path / "new")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"settle_seconds": 61}, "settle_seconds"),
            ({"pickup_max_header_bytes": "1KB"}, "pickup_max_header_bytes"),
            ({"pickup_max_header_bytes": "unlimited"}, "pickup_max_header_bytes"),
            ({"pickup_directory_path": "relative"}, "pickup_directory_path"),
            ({"root_drop_directory_path": r"\\srv\share"}, "root_drop_directory_path"),
        ],
    )
    def test_a_wrong_value_is_shown_at_its_field(self, browser, changes, field):
        response = browser.post(self.url(), self.data(**changes))

        assert list(response.context["adminform"].form.errors) == [field]

    @pytest.mark.rule("DR-5")
    def test_a_root_is_refused_while_a_connector_has_an_absolute_directory(self, browser, tmp_path):
        ForeignConnector.objects.update(drop_directory=str(tmp_path / "abs"))

        response = browser.post(self.url(), self.data(root_drop_directory_path=str(tmp_path)))

        assert codes(response) == {"DROP_ROOT_CONFLICT"}


class TestDomainsAndRecipients:
    @pytest.mark.rule("IM-8")
    def test_the_default_domain_changes_hands_and_never_disappears(self, browser):
        add = reverse("admin:connectors_accepteddomain_add")
        browser.post(add, {"domain": "New.Test", "kind": "authoritative", "is_default": "on"})
        assert [d.domain for d in AcceptedDomain.objects.filter(is_default=True)] == ["new.test"]

        new = AcceptedDomain.objects.get(domain="new.test")
        url = reverse("admin:connectors_accepteddomain_change", args=[new.pk])
        response = browser.post(url, {"domain": "new.test", "kind": "authoritative"})
        assert codes(response) == {"DOMAIN_DEFAULT_REQUIRED"}
        delete = reverse("admin:connectors_accepteddomain_delete", args=[new.pk])
        assert browser.post(delete, {"post": "yes"}).status_code == 403
        listing = reverse("admin:connectors_accepteddomain_changelist")
        browser.post(listing, {"action": "delete_selected", "_selected_action": [new.pk], "post": "yes"})
        assert AcceptedDomain.objects.filter(pk=new.pk).exists()

    @pytest.mark.rule("RT-3", "RT-8")
    def test_a_contact_is_made_and_an_address_has_one_owner(self, browser):
        add = reverse("admin:connectors_contact_add")
        data = {
            "name": "Fax",
            "primary_address": "fax@fcweb.test",
            "external_address": "fax:5551234",
            "proxies-TOTAL_FORMS": 1,
            "proxies-INITIAL_FORMS": 0,
            "proxies-0-type": "FAX",
            "proxies-0-address": "42",
        }
        browser.post(add, data)

        contact = DirectoryRecipient.objects.get(kind="contact")
        assert contact.external_address == "FAX:5551234"
        assert sorted(str(proxy) for proxy in contact.proxies.all()) == ["FAX:42", "SMTP:fax@fcweb.test"]
        response = browser.post(add, data | {"primary_address": "b@fcweb.test"})
        assert codes(response) == {"ADDRESS_IN_USE"}
        response = browser.post(add, data | {"primary_address": "alice@fcweb.test", "proxies-0-address": "43"})
        assert "ADDRESS_IN_USE" in codes(response)
