"""Groups in the admin and by `manage.py recipient`: checked, shown, audited with the members before and after."""

import json
from io import StringIO

import pytest
from auditlog.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse

from connectors import recipient_configuration
from connectors.choices import GroupReports
from connectors.configuration import ListChange
from connectors.models import ConfigGeneration, DirectoryRecipient, Group

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser(site, client):
    client.force_login(get_user_model().objects.get(username="admin"))
    return client


@pytest.fixture
def bob(site):
    return recipient_configuration.add("mailbox", "bob@fcweb.test", name="Bob", proxies=["robert@fcweb.test"])


@pytest.fixture
def fax(site):
    return recipient_configuration.add("contact", "dora@fcweb.test", name="Dora", external="FAX:5551234")


@pytest.fixture
def team(bob, fax):
    group = recipient_configuration.add("group", "team@fcweb.test", name="Team")
    recipient_configuration.change_group(group, members=ListChange(add=(bob.primary_address, fax.primary_address)))
    return Group.objects.get(pk=group.pk)


def members(address="team@fcweb.test"):
    return recipient_configuration.members_of(Group.objects.get(primary_address=address))


def audited_members():
    """Return [before, after] of each change of members, oldest first."""
    entries = LogEntry.objects.filter(action=LogEntry.Action.UPDATE).order_by("pk")
    return [entry.changes["members"] for entry in entries if "members" in entry.changes]


class TestAdmin:
    def url(self, group=None):
        if group is None:
            return reverse("admin:connectors_group_add")
        return reverse("admin:connectors_group_change", args=[group.pk])

    def form(self, *people, group=None, **changes):
        """Return what the page posts."""
        rows = list(group.proxies.all()) if group else []
        data = {
            "name": "Team",
            "primary_address": "team@fcweb.test",
            "members": [one.pk for one in people],
            "reports_to": "originator",
            "manager": "",
            "proxies-TOTAL_FORMS": len(rows),
            "proxies-INITIAL_FORMS": len(rows),
            "proxies-MIN_NUM_FORMS": 0,
            "proxies-MAX_NUM_FORMS": 1000,
        }
        for number, row in enumerate(rows):
            data |= {f"proxies-{number}-id": row.pk, f"proxies-{number}-recipient": group.pk}
            data |= {f"proxies-{number}-type": row.type, f"proxies-{number}-address": row.address}
        return data | changes

    def errors(self, response):
        """Return field and code of each error on the page."""
        found = response.context["adminform"].form.errors.as_data()
        return {(field, error.code) for field, errors in found.items() for error in errors}

    @pytest.mark.rule("MT-K", "DSN-11")
    def test_a_group_is_made_and_audited_with_its_members(self, browser, bob, fax):
        generation = ConfigGeneration.current()

        response = browser.post(self.url(), self.form(bob, fax, reports_to="manager", manager=bob.pk))

        assert response.status_code == 302
        group = Group.objects.get()
        assert (group.kind, group.reports_to, group.manager_id) == ("group", GroupReports.MANAGER, bob.pk)
        assert members() == ["bob@fcweb.test", "dora@fcweb.test"]
        assert [str(proxy) for proxy in group.proxies.all()] == ["SMTP:team@fcweb.test"]
        assert ConfigGeneration.current() > generation
        assert audited_members() == [["", "bob@fcweb.test, dora@fcweb.test"]]
        created = LogEntry.objects.get(
            action=LogEntry.Action.CREATE, content_type__model="directoryrecipient", object_pk=str(group.pk)
        )
        assert created.actor.get_username() == "admin"

    def test_a_change_of_members_is_audited_once_before_and_after(self, browser, team, bob):
        LogEntry.objects.all().delete()

        browser.post(self.url(team), self.form(bob, group=team))
        browser.post(self.url(team), self.form(bob, group=team))

        assert audited_members() == [["bob@fcweb.test, dora@fcweb.test", "bob@fcweb.test"]]
        (entry,) = LogEntry.objects.filter(action=LogEntry.Action.UPDATE)
        assert (entry.object_pk, entry.actor.get_username()) == (str(team.pk), "admin")

    @pytest.mark.rule("DSN-11")
    def test_what_is_wrong_is_said_at_its_field(self, browser, team, bob):
        assert self.errors(browser.post(self.url(team), self.form(bob, group=team, reports_to="manager"))) == {
            ("manager", "MANAGER_REQUIRED")
        }
        assert self.errors(browser.post(self.url(team), self.form(bob, team, group=team))) == {
            ("members", "MEMBER_INVALID")
        }
        assert self.errors(browser.post(self.url(), self.form(bob, primary_address="bob@fcweb.test"))) >= {
            ("primary_address", "ADDRESS_IN_USE")
        }
        assert members() == ["bob@fcweb.test", "dora@fcweb.test"]

    def test_the_list_counts_members_and_says_where_notices_go(self, browser, team, bob):
        recipient_configuration.change_group(team, reports_to="manager", manager="robert@fcweb.test")

        page = browser.get(reverse("admin:connectors_group_changelist")).content.decode()

        assert '<td class="field-member_count">2</td>' in page
        assert '<td class="field-notices_go_to">Bob &lt;bob@fcweb.test&gt;</td>' in page

    def test_mailboxes_and_contacts_say_which_groups_they_are_in(self, browser, team, bob, fax):
        link = f'<a href="{self.url(team)}">Team &lt;team@fcweb.test&gt;</a>'
        for one in (bob, fax):
            assert link in browser.get(reverse(f"admin:connectors_{one.kind}_change", args=[one.pk])).content.decode()
        assert "member_of" not in browser.get(reverse("admin:connectors_mailbox_add")).content.decode()

    def test_members_are_searched_by_name_and_by_any_address(self, browser, client, team, bob):
        asked = {"app_label": "connectors", "model_name": "group", "field_name": "members"}
        search = reverse("admin:autocomplete")

        found = browser.get(search, asked | {"term": "robert@"}).json()["results"]

        assert found == [{"id": str(bob.pk), "text": "Bob <bob@fcweb.test>"}]
        view = Permission.objects.get(codename="view_group", content_type__app_label="connectors")
        desk = get_user_model().objects.create_user("desk", is_staff=True)
        client.force_login(desk)
        assert client.get(search, asked | {"term": "bob"}).status_code == 403
        desk.user_permissions.add(view)
        client.force_login(desk)
        assert len(client.get(search, asked | {"term": "bob"}).json()["results"]) == 1

    def test_the_page_of_any_recipient_is_the_one_of_its_kind(self, browser, team, bob):
        page = reverse("admin:connectors_directoryrecipient_change", args=[bob.pk])

        assert browser.get(page).url.startswith(reverse("admin:connectors_mailbox_change", args=[bob.pk]))
        assert browser.get(reverse("admin:connectors_directoryrecipient_change", args=[0])).status_code == 404
        assert "directoryrecipient" not in browser.get(reverse("admin:index")).content.decode()

    def test_a_removed_recipient_leaves_its_groups_and_that_is_audited(self, browser, team, bob):
        recipient_configuration.change_group(team, reports_to="manager", manager="bob@fcweb.test")
        LogEntry.objects.all().delete()

        browser.post(reverse("admin:connectors_mailbox_delete", args=[bob.pk]), {"post": "yes"})

        assert members() == ["dora@fcweb.test"]
        assert audited_members() == [["bob@fcweb.test, dora@fcweb.test", "dora@fcweb.test"]]
        managers = LogEntry.objects.filter(object_pk=str(team.pk), changes__has_key="manager")
        assert len(managers) == 1


def run(*words):
    out = StringIO()
    call_command("recipient", *words, stdout=out)
    return out.getvalue()


def shown(*words):
    return json.loads(run(*words, "--json"))


class TestCommand:
    @pytest.mark.rule("MT-K", "DSN-11")
    def test_a_group_is_made_in_one_step(self, bob, fax):
        words = ("--member", "robert@fcweb.test", "--member", "dora@fcweb.test", "--manager", "bob@fcweb.test")

        made = shown("add", "group", "team@fcweb.test", "--name", "Team", *words, "--reports-to", "manager")

        assert (
            made
            | {
                "Kind": "group",
                "Name": "Team",
                "PrimarySmtpAddress": "team@fcweb.test",
                "ExternalAddress": None,
                "ProxyAddresses": ["SMTP:team@fcweb.test"],
                "Members": ["bob@fcweb.test", "dora@fcweb.test"],
                "ManagedBy": "bob@fcweb.test",
                "ReportToOriginatorEnabled": False,
                "ReportToManagerEnabled": True,
            }
            == made
        )
        assert shown("get", "team@fcweb.test") == made
        assert made in shown("list", "--kind", "group")
        assert run("list", "--kind", "group") == "group\tteam@fcweb.test\tTeam\tbob@fcweb.test, dora@fcweb.test\n"
        assert "Members: bob@fcweb.test, dora@fcweb.test\n" in run("get", "team@fcweb.test")

    def test_members_are_replaced_added_and_removed(self, team):
        recipient_configuration.add("mailbox", "carol@fcweb.test")

        run("set", "team@fcweb.test", "--add-member", "carol@fcweb.test", "--remove-member", "robert@fcweb.test")
        assert members() == ["carol@fcweb.test", "dora@fcweb.test"]
        run("set", "team@fcweb.test", "--member", "robert@fcweb.test")
        assert members() == ["bob@fcweb.test"]

        assert audited_members()[-2:] == [
            ["bob@fcweb.test, dora@fcweb.test", "carol@fcweb.test, dora@fcweb.test"],
            ["carol@fcweb.test, dora@fcweb.test", "bob@fcweb.test"],
        ]
        assert LogEntry.objects.latest("pk").additional_data["command"] == "recipient set"

    def test_the_manager_is_set_and_taken_away(self, team):
        run("set", "team@fcweb.test", "--manager", "robert@fcweb.test", "--reports-to", "manager")
        assert Group.objects.get().manager.primary_address == "bob@fcweb.test"
        run("set", "team@fcweb.test", "--manager", "", "--reports-to", "nobody")
        assert (Group.objects.get().manager, Group.objects.get().reports_to) == (None, "nobody")

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("add", "group", "new@fcweb.test", "--reports-to", "manager"), "MANAGER_REQUIRED"),
            (("add", "group", "new@fcweb.test", "--member", "nobody@fcweb.test"), "RECIPIENT_NOT_FOUND"),
            (("add", "mailbox", "new@fcweb.test", "--member", "bob@fcweb.test"), "NOT_A_GROUP"),
            (("set", "bob@fcweb.test", "--add-member", "dora@fcweb.test"), "NOT_A_GROUP"),
            (("set", "team@fcweb.test", "--name", "X", "--add-member", "team@fcweb.test"), "MEMBER_INVALID"),
        ],
    )
    def test_what_is_wrong_is_refused_whole(self, team, words, code):
        with pytest.raises(CommandError, match=code) as refused:
            run(*words)

        assert refused.value.returncode == 1
        assert not DirectoryRecipient.objects.filter(primary_address="new@fcweb.test").exists()
        assert Group.objects.get().name == "Team"
        assert members() == ["bob@fcweb.test", "dora@fcweb.test"]
