"""What people see of a group: its route, its dry run, and the message page with its copies."""

import base64
import json
from io import StringIO

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.urls import reverse

from connectors import configuration, drop_directory, recipient_configuration, rerouting
from connectors.configuration import ListChange
from connectors.models import ForeignConnector, Message
from tracking import family, story
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)

TEAM = (
    b"From: alice@fcweb.test\r\nTo: team@fcweb.test\r\nSubject: Plan\r\nMessage-ID: <plan@fcweb.test>\r\n\r\nBody\r\n"
)


@pytest.fixture
def browser(site, client):
    client.force_login(get_user_model().objects.get(username="admin"))
    return client


def person(name):
    return recipient_configuration.add("mailbox", f"{name}@fcweb.test").primary_address


def contact(name, external):
    return recipient_configuration.add("contact", f"{name}@fcweb.test", external=external).primary_address


def make_group(name, *members, **settings):
    group = recipient_configuration.add("group", f"{name}@fcweb.test")
    recipient_configuration.change_group(group, members=ListChange(add=members), **settings)
    return group.primary_address


def route(*words):
    out = StringIO()
    call_command("route", *words, stdout=out)
    return out.getvalue()


def shown(*words):
    return json.loads(route(*words, "--json"))


@pytest.fixture
def team(site):
    """A group with two mailboxes and a fax; the fax leaves another way."""
    return make_group("team", person("bob"), person("carol"), contact("dora", "FAX:5551234"))


class TestRoute:
    @pytest.mark.rule("MT-K", "DSN-11")
    def test_a_group_is_told_by_its_members_their_ways_and_their_copies(self, team):
        found = shown(team)

        assert (found["verdict"], found["steps"][0]["code"]) == ("expand", "group")
        assert found["answer"] == "team@fcweb.test is a group: 3 recipients get the message in its place."
        group = found["group"]
        members = [(m["recipient"], m["verdict"], m["queue"], m["copy"], m["told_sentence"]) for m in group["members"]]
        assert members == [
            ("bob@fcweb.test", "deliver", "SmtpDeliveryToMailbox/Mailboxes", 0, "the sender"),
            ("carol@fcweb.test", "deliver", "SmtpDeliveryToMailbox/Mailboxes", 0, "the sender"),
            ("dora@fcweb.test", "deliver", "NonSmtpGatewayDelivery/FAX", 1, "the sender"),
        ]
        fax = group["members"][2]
        assert [step["code"] for step in fax["steps"]] == ["contact", "selected"]
        assert fax["directory"].endswith("/drop/Fax")
        assert fax["candidates"][0]["connector"] == "Fax"
        assert group["copies"] == [
            {
                "copy": 1,
                "return_path": "the sender",
                "members": ["dora@fcweb.test"],
                "why": "Its members leave another way.",
            }
        ]
        assert group["expanded"][0]["members"] == ["bob@fcweb.test", "carol@fcweb.test", "dora@fcweb.test"]

    @pytest.mark.rule("DSN-11")
    def test_members_of_a_group_with_a_manager_are_in_a_copy_that_reports_to_him(self, site):
        boss = person("boss")
        team = make_group("team", person("bob"), reports_to="manager", manager=boss)

        (member,) = shown(team, "--sender", "alice@fcweb.test")["group"]["members"]
        (copy,) = shown(team)["group"]["copies"]

        assert (member["told"], member["copy"]) == (boss, 1)
        assert (copy["return_path"], copy["why"]) == (boss, "Its notices go to another address.")
        (member,) = shown(team, "--sender", "<>")["group"]["members"]
        assert (member["told"], member["told_sentence"], member["copy"]) == ("", "nobody", 0)

    @pytest.mark.rule("MT-K")
    def test_groups_inside_and_members_named_twice_are_told(self, site):
        bob = person("bob")
        inner = make_group("inner", bob, person("carol"))
        outer = make_group("outer", inner, bob)

        group = shown(outer)["group"]

        assert [(g["address"], g["members"], g["duplicates"]) for g in group["expanded"]] == [
            (outer, [bob, inner], []),
            (inner, ["carol@fcweb.test"], [bob]),
        ]
        assert [(m["recipient"], m["member_of"]) for m in group["members"]] == [
            (bob, outer),
            ("carol@fcweb.test", inner),
        ]
        text = route(outer)
        assert f"{inner}\tduplicate\t{bob}" in text

    @pytest.mark.rule("MT-K", "A-25")
    def test_a_group_without_members_fails_and_says_who_is_told(self, site, browser):
        team = make_group("team", make_group("inner"))

        found = shown(team, "--sender", "alice@fcweb.test")

        assert (found["verdict"], found["status_code"]) == ("fail", "5.2.4")
        assert found["answer"].endswith("the group team@fcweb.test has no members.")
        assert found["notice"].startswith("A notice goes to alice@fcweb.test.")
        page = browser.get(reverse("route"), {"address": team}).content.decode()
        assert "550 5.2.4 RESOLVER.GRP.Empty" in page
        assert "Nobody is in it." in page

    @pytest.mark.rule("MT-K")
    def test_the_page_names_members_that_cannot_be_reached(self, site, browser):
        team = make_group("team", person("bob"), contact("lost", "SAP:42"))

        page = browser.get(reverse("route"), {"address": team}).content.decode()

        assert "2 recipients get the message in its place. 1 cannot be reached." in page
        assert "550 5.1.2" in page
        assert "No connector was asked" not in page

    @pytest.mark.rule("MT-K", "DR-20", "DSN-11")
    def test_the_dry_run_writes_the_files_that_are_written(self, site, team, tmp_path, pickup, transport):
        configuration.create("Sms", ["SMS:*"])
        recipient_configuration.change_group(
            recipient_configuration.find(team), members=ListChange(add=(contact("emil", "SMS:77"),))
        )
        path = tmp_path / "plan.eml"
        path.write_bytes(TEAM.replace(b"To: team", b"To: IMCEAFAX-99@fcweb.test, team"))

        found = shown("--file", str(path))

        assert Message.objects.count() == 0
        assert [(r["recipient"], r["verdict"]) for r in found["routes"]] == [
            ("IMCEAFAX-99@fcweb.test", "deliver"),
            (team, "expand"),
        ]
        assert [(m["recipient"], m["copy"]) for m in found["routes"][1]["group"]["members"]] == [
            ("dora@fcweb.test", 0),
            ("bob@fcweb.test", 1),
            ("carol@fcweb.test", 1),
            ("emil@fcweb.test", 2),
        ]
        assert [(f["connector"], f["recipients"]) for f in found["files"]] == [
            ("Fax", ["IMCEAFAX-99@fcweb.test", "IMCEAFAX-5551234@fcweb.test"]),
            ("Sms", ["IMCEASMS-77@fcweb.test"]),
        ]
        drop_directory.create(ForeignConnector.objects.get(name="Sms"), site.node)
        pickup("plan.eml", path.read_bytes())
        transport()
        written = [(d.name, f.read_bytes()) for d in (site.drop, site.drop.parent / "Sms") for f in d.glob("*.eml")]
        assert [name for name, _data in written] == ["Fax", "Sms"]
        for (_name, data), file in zip(written, found["files"], strict=True):
            receivers = [line for line in data.split(b"\r\n") if line.startswith(b"X-Receiver")]
            assert receivers == [
                r for r in base64.b64decode(file["content_base64"]).split(b"\r\n") if r.startswith(b"X-Receiver")
            ]

    @pytest.mark.rule("MT-K")
    def test_the_dry_run_tells_of_members_that_fail(self, site, tmp_path):
        boss = person("boss")
        make_group("team", contact("lost", "SAP:42"), reports_to="manager", manager=boss)
        path = tmp_path / "plan.eml"
        path.write_bytes(TEAM)

        found = shown("--file", str(path))

        assert found["sentence"] == "The file would be accepted, but some recipients would fail."
        assert found["notice"] == ""  # the sender hears nothing of it
        assert found["routes"][0]["group"]["members"][0]["told"] == boss

    @pytest.mark.rule("RT-52", "MT-K")
    def test_a_waiting_recipient_that_became_a_group_counts_as_its_members(self, site, pickup, transport):
        configuration.create("Relay", ["SMTP:partner.test"])
        pickup("plan.eml", TEAM.replace(b"team@fcweb.test", b"all@partner.test"))
        transport()
        group = recipient_configuration.add("group", "all@partner.test")
        relay = ForeignConnector.objects.get(name="Relay")
        assert (rerouting.of_removal(relay).looked_at, rerouting.of_removal(relay).returned) == (1, 1)
        recipient_configuration.change_group(
            group, members=ListChange(add=(person("bob"), contact("lost", "SAP:42"), contact("fred", "FAX:1")))
        )

        forecast = rerouting.of_removal(relay)

        assert (forecast.looked_at, forecast.returned) == (3, 1)


def page_of(browser, tracked):
    return browser.get(reverse("message", args=[tracked.pk]))


class TestMessagePage:
    @pytest.mark.rule("MTT-3", "MTT-4", "MTT-8")
    def test_a_message_and_its_copy_are_one_story(self, team, pickup, transport, browser):
        pickup("plan.eml", TEAM)
        transport()
        parent, copy = TrackedMessage.objects.order_by("pk")

        for tracked in (parent, copy):
            context = page_of(browser, tracked).context
            assert [step.row.event for step in context["steps"]] == [
                "RECEIVE",
                "EXPAND",
                "TRANSFER",
                "RESOLVE",
                "DELIVER",
                "DELIVER",
                "SEND",
            ]
            assert [(o.address, o.event, o.group) for o in context["outcomes"] if o.is_final] == [
                ("bob@fcweb.test", "DELIVER", team),
                ("carol@fcweb.test", "DELIVER", team),
                ("IMCEAFAX-5551234@fcweb.test", "SEND", ""),
            ]
        page = page_of(browser, parent).content.decode()
        assert "Its copy for members of groups: 1 handed over." in page
        assert page.count(f'<a href="/message/{copy.pk}/">message {copy.internal_message_id}</a>') == 3
        assert page.count("FAX:5551234</span>") == 2  # recipients' table and copies: once each
        page = page_of(browser, copy).content.decode()
        assert f'split off from <a href="/message/{parent.pk}/">message {parent.internal_message_id}</a>' in page
        assert "Related messages" not in page

    @pytest.mark.rule("MTT-4", "DSN-11")
    def test_a_copy_with_another_return_path_says_so_and_its_notice_is_found(self, site, pickup, transport, browser):
        boss = person("boss")
        make_group("team", person("bob"), contact("lost", "SAP:42"), reports_to="manager", manager=boss)
        pickup("plan.eml", TEAM)
        transport()
        parent, copy, *_notice = TrackedMessage.objects.order_by("pk")

        response = page_of(browser, parent)

        assert "banner fail" in response.content.decode()  # one copy failed: nobody may miss that
        assert response.context["copies_answer"].endswith("1 delivered, 1 failed.")
        assert response.context["answer"] == "Passed on to the members of the group, in copies of its own."
        members = response.context["family"]
        by_id = {m.message.pk: (m.parent, m.has_own_path) for m in members}
        assert by_id[parent.pk] == (None, False)
        assert by_id[copy.pk] == (parent, True)
        assert "all are in copies" in response.content.decode()
        assert [r.sentence for r in response.context["related"]] == ["notice about this message"]

    @pytest.mark.rule("MTT-8")
    def test_a_member_named_twice_has_one_last_word(self, site, replay, transport):
        bob = person("bob")
        make_group("team", bob, person("carol"))
        replay(
            "plan.eml",
            b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <bob@fcweb.test>\r\n"
            b"X-Receiver: <team@fcweb.test>\r\nSubject: Plan\r\n\r\nBody\r\n",
        )

        transport()

        tracked = TrackedMessage.objects.get()
        told = story.events_of(family.of(tracked))
        assert "DUPLICATEEXPAND" in [row.event for row in told]
        assert [(o.address, o.event, o.group) for o in story.outcomes(told)] == [
            (bob, "DELIVER", ""),
            ("carol@fcweb.test", "DELIVER", "team@fcweb.test"),
        ]

    @pytest.mark.rule("MTT-8")
    def test_the_last_word_on_a_member_is_told_beyond_the_steps_of_the_page(
        self, site, pickup, transport, browser, monkeypatch
    ):
        monkeypatch.setattr(story, "MOST_STEPS", 3)
        make_group("team", *(person(f"p{number}") for number in range(4)))
        pickup("plan.eml", TEAM)
        transport()

        response = page_of(browser, TrackedMessage.objects.get())

        assert len(response.context["steps"]) == 3
        assert [o.event for o in response.context["outcomes"]] == ["DELIVER"] * 4
        assert 'id="steps-cut"' in response.content.decode()

    @pytest.mark.rule("MTE-6")
    def test_what_people_did_to_a_copy_stands_on_the_page_of_the_message(self, site, pickup, transport, browser):
        make_group("team", person("bob"), *(person(f"p{number}") for number in range(3)), contact("zoe", "FAX:1"))
        site.drop.rename(site.drop.with_name("away"))
        pickup("plan.eml", TEAM)
        transport()
        call_command("queue", "suspend", r"node.test\FAX", "--reason", "line down")
        parent = TrackedMessage.objects.order_by("pk")[0]

        page = page_of(browser, parent).content.decode()

        assert "line down" in page
        assert page.count("operations-title") == 2

    def test_a_message_without_copies_shows_none(self, site, pickup, transport, browser):
        pickup("plan.eml", TEAM.replace(b"team@", b"alice@"))
        transport()

        page = page_of(browser, TrackedMessage.objects.get()).content.decode()

        assert 'id="copies"' not in page
        assert "split off" not in page

    def test_the_delivery_part_says_which_group_a_recipient_came_from(self, team, pickup, transport, browser):
        pickup("plan.eml", TEAM)
        transport()
        parent = TrackedMessage.objects.order_by("pk")[0]

        part = browser.get(reverse("message-delivery", args=[parent.pk])).content.decode()

        assert "Replaced by the group’s members." in part
        assert part.count("Member of the group team@fcweb.test") == 2


class TestSearch:
    @pytest.mark.rule("MTS-4", "MTF-16", "MTF-17")
    @pytest.mark.parametrize(
        ("query", "events"),
        [
            ("event:EXPAND", ["EXPAND"]),
            ("event:transfer", ["TRANSFER"]),
            ("event:DUPLICATEEXPAND,EXPAND", ["EXPAND"]),
        ],
    )
    def test_events_of_groups_are_found_and_exported(self, team, pickup, transport, browser, query, events):
        pickup("plan.eml", TEAM)
        transport()

        lines = browser.get(reverse("tracking-export", args=["jsonl"]), {"q": query})
        rows = [json.loads(line) for line in b"".join(_whole(lines)).splitlines()]

        assert [row["event-id"] for row in rows] == events
        by_event = {row["event-id"]: row for row in rows}
        if "EXPAND" in by_event:
            row = by_event["EXPAND"]
            assert (row["related-recipient-address"], row["recipient-count"]) == (team, 3)
        if "TRANSFER" in by_event:
            parent = TrackingEvent.objects.get(event="EXPAND").message.internal_message_id
            assert by_event["TRANSFER"]["reference"] == str(parent)

    def test_the_state_expanded_is_asked_for_and_shown(self, site, pickup, transport, browser):
        make_group("team", person("bob"), reports_to="manager", manager=person("boss"))
        pickup("plan.eml", TEAM)
        transport()

        response = browser.get(reverse("tracking"), {"q": "state:expanded"})

        assert [(chip.key, chip.value, chip.wrong) for chip in response.context["asked"].chips] == [
            ("state", "expanded", "")
        ]
        assert {row.state for row in response.context["page"].rows} == {"expanded"}
        wrong = browser.get(reverse("tracking"), {"q": "state:grouped"}).context["asked"].chips[0].wrong
        assert "expanded" in wrong


def _whole(response):
    """Return the parts of a streamed answer."""

    async def collect():
        return [part async for part in response.streaming_content]

    return async_to_sync(collect)()
