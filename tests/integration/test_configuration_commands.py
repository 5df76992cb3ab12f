"""Commands of the configuration: node, domain, recipient and connector, each change audited (FC-1 to FC-25, DR-1 to DR-12)."""

import json
import os
from io import StringIO
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command

from connectors import audit, configuration, drop_directory
from connectors.errors import ConfigurationError
from connectors.models import (
    AcceptedDomain,
    ConfigGeneration,
    DirectoryRecipient,
    EventLogEntry,
    ForeignConnector,
    Node,
    ProxyAddress,
)

pytestmark = pytest.mark.django_db(transaction=True)


def run(*words):
    out, err = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def shown(*words):
    return json.loads(run(*words, "--json")[0])


class TestNode:
    def test_every_setting_is_shown_under_its_exchange_name(self, site, data_dir):
        settings = shown("node", "get")

        assert settings["PickupDirectoryPath"] == str(data_dir / "pickup")
        assert settings["PickupDirectoryMaxMessagesPerMinute"] == "unlimited"
        assert settings["PickupDirectoryMaxHeaderSize"] == "64KB"
        assert settings["RootDropDirectoryPath"] is None
        assert settings["MaxMessageSize"] == "10MB"

    def test_settings_are_changed_one_by_one(self, site):
        changed = shown(
            "node",
            "set",
            "--pickup-directory-max-messages-per-minute=120",
            "--replay-directory-path=null",
            "--settle-seconds=60",
            "--pickup-directory-max-header-size=32KB",
        )

        node = Node.objects.get()
        assert (node.pickup_max_messages_per_minute, node.replay_directory_path) == (120, "")
        assert (node.settle_seconds, node.pickup_max_header_bytes) == (60, 32768)
        assert changed["ReplayDirectoryPath"] is None
        assert node.replay_max_messages_per_minute is None

    @pytest.mark.parametrize(
        "option",
        [
            "--settle-seconds=61",
            "--pickup-directory-max-messages-per-minute=0",
            "--pickup-directory-max-messages-per-minute=fast",
            "--pickup-directory-max-header-size=1KB",
            "--pickup-directory-max-header-size=unlimited",
            "--pickup-directory-max-recipients-per-message=10001",
            "--pickup-directory-path=pickup",
            r"--root-drop-directory-path=\\server\share",
            "--unstuff-dots=perhaps",
        ],
    )
    def test_a_value_out_of_range_is_refused_and_nothing_changes(self, site, option):
        before = Node.objects.values().get()

        with pytest.raises(CommandError, match="NODE_SETTING_INVALID"):
            run("node", "set", option)

        assert Node.objects.values().get() == before

    @pytest.mark.rule("PU-65")
    def test_replay_never_stands_inside_pickup(self, site):
        with pytest.raises(CommandError, match="NODE_SETTING_INVALID"):
            run("node", "set", f"--replay-directory-path={site.node.pickup_directory_path}/replay")

    @pytest.mark.rule("PU-22", "UP-12")
    def test_files_left_in_an_old_directory_are_counted(self, site, pickup, tmp_path):
        pickup("a.eml", b"x")
        pickup("b.EML", b"x")
        (tmp_path / "new").mkdir()

        _out, said = run("node", "set", f"--pickup-directory-path={tmp_path / 'new'}")

        assert f"2 files stay in {site.node.pickup_directory_path}" in said

    @pytest.mark.rule("DR-5", "FC-11", "FC-E8")
    def test_a_root_is_refused_while_a_connector_has_an_absolute_directory(self, site, tmp_path):
        run("connector", "set", "Fax", "--drop-directory", str(tmp_path / "out"))

        with pytest.raises(CommandError, match="DROP_ROOT_CONFLICT"):
            run("node", "set", f"--root-drop-directory-path={tmp_path}")


class TestDomains:
    def test_domains_are_added_changed_and_removed(self, site):
        before = ConfigGeneration.current()
        run("domain", "add", "Relay.Test", "--kind", "internal_relay")
        run("domain", "set", "relay.test", "--kind", "external_relay", "--accepts-imcea", "true")

        assert {"Domain": "relay.test", "Kind": "external_relay", "Default": False, "AcceptsImcea": True} in shown(
            "domain", "list"
        )
        assert ConfigGeneration.current() == before + 2
        run("domain", "remove", "relay.test")
        assert [domain.domain for domain in AcceptedDomain.objects.all()] == ["fcweb.test"]

    @pytest.mark.rule("IM-8", "IM-9")
    def test_there_is_always_exactly_one_default_domain(self, site):
        run("domain", "add", "new.test", "--default")

        assert [d.domain for d in AcceptedDomain.objects.filter(is_default=True)] == ["new.test"]
        with pytest.raises(CommandError, match="DOMAIN_DEFAULT_REQUIRED"):
            run("domain", "remove", "new.test")

    @pytest.mark.rule("AS-13")
    def test_one_domain_in_two_spellings_is_one(self, site):
        run("domain", "add", "bücher.test")

        with pytest.raises(CommandError, match="DOMAIN_EXISTS"):
            run("domain", "add", "xn--bcher-kva.test")
        with pytest.raises(CommandError, match="DOMAIN_INVALID"):
            run("domain", "add", "not a domain")


class TestRecipients:
    @pytest.mark.rule("RT-2", "RT-3")
    def test_a_contact_with_proxies_is_made_and_changed(self, site):
        run("recipient", "add", "contact", "fax@fcweb.test", "--name", "Fax", "--external", "FAX:5551234")
        run("recipient", "set", "fax@fcweb.test", "--add-proxy", "FAX:42", "--primary", "dept@fcweb.test")

        (contact,) = [row for row in shown("recipient", "list") if row["Kind"] == "contact"]
        assert contact["ExternalAddress"] == "FAX:5551234"
        assert contact["ProxyAddresses"] == ["FAX:42", "SMTP:dept@fcweb.test", "SMTP:fax@fcweb.test"]
        run("recipient", "remove", "FAX:42")
        assert ProxyAddress.objects.filter(recipient__kind="contact").count() == 0

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("add", "mailbox", "ALICE@fcweb.test"), "ADDRESS_IN_USE"),
            (("add", "mailbox", "no address"), "ADDRESS_INVALID"),
            (("add", "contact", "c@fcweb.test"), "EXTERNAL_ADDRESS_REQUIRED"),
            (("add", "mailbox", "m@fcweb.test", "--external", "FAX:1"), "EXTERNAL_ADDRESS_INVALID"),
            (("set", "nobody@fcweb.test", "--name", "X"), "RECIPIENT_NOT_FOUND"),
            (("set", "alice@fcweb.test", "--remove-proxy", "alice@fcweb.test"), "ADDRESS_INVALID"),
            (("set", "alice@fcweb.test", "--name", "x" * 257), "RECIPIENT_INVALID"),
        ],
    )
    def test_what_is_wrong_is_refused_with_its_code(self, site, words, code):
        with pytest.raises(CommandError, match=code):
            run("recipient", *words)

        assert DirectoryRecipient.objects.count() == 1

    @pytest.mark.rule("RT-8")
    def test_an_address_two_recipients_share_is_ambiguous(self, site):
        run("recipient", "add", "mailbox", "bob@fcweb.test", "--proxy", "FAX:1")
        alice = DirectoryRecipient.objects.get(name="Alice")
        ProxyAddress.objects.create(recipient=alice, type="FAX", address="1", key="FAX:1")  # as an import may

        with pytest.raises(CommandError, match="RECIPIENT_AMBIGUOUS"):
            run("recipient", "set", "FAX:1", "--name", "Who")


class TestConnector:
    @pytest.mark.rule("FC-5")
    def test_one_step_sets_what_two_steps_set(self, site):
        settings = ("--drop-directory", "out", "--max-message-size", "3MB", "--enabled", "false", "--comment", "C")
        run("connector", "new", "foreign", "One", "--address-space", "A:*", *settings)
        run("connector", "new", "foreign", "Two", "--address-space", "A:*")
        run("connector", "set", "Two", *settings)

        one, two = (shown("connector", "get", name)[0] for name in ("One", "Two"))
        own = {"Identity", "Name", "Guid", "WhenCreated", "WhenChanged"}
        assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in two.items() if k not in own}
        assert one["MaxMessageSize"] == "3MB"

    @pytest.mark.rule("FC-5")
    def test_what_is_left_out_has_the_defaults_of_exchange(self, site):
        run("connector", "new", "foreign", "Plain", "--address-space", "A:*")

        plain = shown("connector", "get", "Plain")[0]
        assert (plain["DropDirectory"], plain["DropDirectoryQuota"], plain["MaxMessageSize"]) == (
            "Plain",
            "unlimited",
            "unlimited",
        )
        assert (plain["Enabled"], plain["RelayDsnRequired"], plain["IsScopedConnector"]) == (True, False, False)
        assert plain["SourceTransportServers"] == ["node.test"]

    @pytest.mark.rule("FC-6", "FC-E10", "AS-40")
    def test_source_servers_are_replaced_added_and_removed(self, site):
        for name in ("hub1", "hub2"):
            Node.objects.create(name=name, fqdn=name)
        run("connector", "set", "Fax", "--add-source-server", "HUB1", "--scoped", "true")
        assert shown("connector", "get", "Fax")[0]["SourceTransportServers"] == ["hub1", "node.test"]
        run("connector", "set", "Fax", "--source-server", "hub2", "--source-server", "hub1")
        run("connector", "set", "Fax", "--remove-source-server", "hub1")

        fax = shown("connector", "get", "Fax")[0]
        assert (fax["SourceTransportServers"], fax["IsScopedConnector"]) == (["hub2"], True)
        with pytest.raises(CommandError, match="SOURCE_SERVER_UNKNOWN"):
            run("connector", "set", "Fax", "--add-source-server", "hub9")

    @pytest.mark.rule("AS-40")
    def test_the_prefix_of_2007_makes_a_scoped_connector(self, site):
        run("connector", "new", "foreign", "Old", "--address-space", "Local:FAX:9*;3")

        old = shown("connector", "get", "Old")[0]
        assert (old["AddressSpaces"], old["IsScopedConnector"]) == (["FAX:9*;3"], True)

    @pytest.mark.rule("FC-6", "FC-E4", "AS-8")
    def test_the_last_address_space_cannot_be_removed_and_none_stands_twice(self, site):
        with pytest.raises(CommandError, match="ADDRESS_SPACE_REQUIRED"):
            run("connector", "set", "Fax", "--remove-address-space", "FAX:*")
        with pytest.raises(CommandError, match="ADDRESS_SPACE_INVALID"):
            run("connector", "set", "Fax", "--address-space", "FAX:1", "--address-space", "fax:1;2")

        assert shown("connector", "get", "Fax")[0]["AddressSpaces"] == ["FAX:*;1"]

    @pytest.mark.rule("FC-E5", "AS-5")
    def test_an_invalid_entry_is_named_with_its_rule(self, site):
        with pytest.raises(CommandError, match=r"ADDRESS_SPACE_COST_REQUIRED: “X400:c=US;a=F;p=C”.*AS-5"):
            run("connector", "set", "Fax", "--add-address-space", "X400:c=US;a=F;p=C")

    @pytest.mark.rule("FC-7", "FC-E7")
    @pytest.mark.parametrize("size", ["0", "1025TB", "-1", "2 parsecs", "1.5GB"])
    def test_a_quota_out_of_range_prints_the_range(self, site, size):
        with pytest.raises(CommandError, match=r"SIZE_RANGE.*1B – 1024TB"):
            run("connector", "set", "Fax", f"--drop-directory-quota={size}")

    @pytest.mark.rule("FC-7")
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("2gb", 2**31),
            ("1500", 1500),
            ("1b", 1),
            ("3 kb", 3072),
            ("UNLIMITED", None),
            ("2 GB (2,147,483,648 bytes)", 2**31),
            ("1.465 KB (1,500 bytes)", "refused"),
        ],
    )
    def test_sizes_are_read_as_exchange_writes_them(self, site, text, size):
        if size == "refused":
            with pytest.raises(CommandError, match="SIZE_RANGE"):
                run("connector", "set", "Fax", f"--drop-directory-quota={text}")
            return
        run("connector", "set", "Fax", f"--drop-directory-quota={text}")

        assert ForeignConnector.objects.get().drop_directory_quota == size

    @pytest.mark.rule("FC-8", "FC-W1")
    def test_size_zero_is_accepted_with_a_warning_and_an_error_event(self, site):
        _out, said = run("connector", "set", "Fax", "--max-message-size", "0")

        assert said.startswith("SIZE_ZERO: ")
        event = EventLogEntry.objects.get(cleared_at=None)
        assert (event.code, event.subject) == (90009, "Fax")
        run("connector", "set", "Fax", "--max-message-size", "1MB")
        assert not EventLogEntry.objects.filter(cleared_at=None).exists()

    @pytest.mark.rule("FC-W1", "FC-13", "DR-7")
    def test_a_missing_directory_is_a_warning_and_is_not_made(self, site):
        _out, said = run("connector", "set", "Fax", "--drop-directory", "elsewhere")

        assert "DROP_DIR_MISSING: " in said
        assert not site.drop.with_name("elsewhere").exists()
        run("connector", "create-directory", "Fax")
        assert site.drop.with_name("elsewhere").is_dir()
        out, _err = run("connector", "test", "Fax")
        assert "ok" in out

    @pytest.mark.rule("FC-4")
    def test_a_rename_says_that_the_directory_follows(self, site):
        _out, said = run("connector", "set", "Fax", "--name", "Telefax")
        assert "DROP_DIR_RENAMED: " in said
        run("connector", "set", "Telefax", "--drop-directory", "kept")

        _out, said = run("connector", "set", "Telefax", "--name", "Fax")
        assert "DROP_DIR_RENAMED" not in said
        assert ForeignConnector.objects.get().drop_directory == "kept"

    @pytest.mark.rule("FC-E3", "FC-9")
    def test_an_identity_is_a_name_a_guid_or_server_and_name(self, site):
        fax = ForeignConnector.objects.get()

        for identity in ("fax", str(fax.guid), r"node.test\FAX"):
            assert configuration.find(identity) == fax
        for identity in ("nobody", r"other\Fax", "0" * 32):
            with pytest.raises(ConfigurationError) as caught:
                configuration.find(identity)
            assert caught.value.code == "CONNECTOR_NOT_FOUND"

    @pytest.mark.rule("FC-E3")
    def test_a_name_that_is_the_guid_of_another_is_ambiguous(self, site):
        guid = str(ForeignConnector.objects.get().guid)
        run("connector", "new", "foreign", guid, "--address-space", "A:*")

        with pytest.raises(CommandError, match="CONNECTOR_AMBIGUOUS"):
            run("connector", "get", guid)

    @pytest.mark.rule("FC-3", "FC-1", "FC-E1")
    @pytest.mark.parametrize(
        "name", ["", " ", "x" * 65, "a:b", "a\\b", "..", ".x", "x.", "a\tb", "a*", 'a"b', "<a>", "a|b", "a?"]
    )
    def test_a_name_that_is_no_safe_directory_is_refused(self, site, name):
        with pytest.raises(CommandError, match="CONNECTOR_NAME_INVALID"):
            run("connector", "new", "foreign", name, "--address-space", "A:*")

    @pytest.mark.rule("FC-2", "FC-E2")
    def test_names_are_compared_without_regard_to_case_and_form(self, site):
        run("connector", "new", "foreign", "Été", "--address-space", "A:*")

        with pytest.raises(CommandError, match="CONNECTOR_NAME_EXISTS"):
            run("connector", "new", "foreign", "e\u0301TE\u0301", "--address-space", "A:*")

    @pytest.mark.rule("FC-17", "FC-E11", "DR-6")
    def test_one_directory_for_two_is_refused_also_through_a_link_and_on_enabling(self, site):
        site.drop.with_name("alias").symlink_to(site.drop)
        with pytest.raises(CommandError, match="DROP_PATH_IN_USE"):
            run("connector", "new", "foreign", "Second", "--address-space", "A:*", "--drop-directory", "alias")
        run(
            "connector",
            "new",
            "foreign",
            "Off",
            "--address-space",
            "A:*",
            "--drop-directory",
            "Fax",
            "--enabled",
            "false",
        )
        with pytest.raises(CommandError, match="DROP_PATH_IN_USE"):
            run("connector", "set", "Off", "--enabled", "true")

        assert ForeignConnector.objects.get(name="Off").enabled is False

    @pytest.mark.rule("RT-24")
    def test_a_wide_connector_that_catches_oversize_mail_is_named(self, site):
        run("connector", "set", "Fax", "--address-space", "FAX:555*", "--max-message-size", "1MB")

        _out, said = run("connector", "new", "foreign", "All", "--address-space", "FAX:*")

        assert "OVERSIZE_FALLBACK: Mail for FAX:555*;1 that is too large for “Fax” leaves by “All” instead." in said


@pytest.mark.parametrize(
    ("root", "name", "expected"),
    [
        pytest.param("", "", "data/drop/Fax", marks=pytest.mark.rule("DR-1", "FC-12")),
        pytest.param("", "out", "data/drop/out", marks=pytest.mark.rule("DR-2")),
        pytest.param("root", "out", "root/out", marks=pytest.mark.rule("DR-3", "FC-10")),
        pytest.param("root", "", "root/Fax", marks=pytest.mark.rule("DR-3")),
        pytest.param("", "/abs", "abs", marks=pytest.mark.rule("DR-4", "FC-11")),
        pytest.param("root", "/abs", "DROP_ROOT_CONFLICT", marks=pytest.mark.rule("DR-5", "FC-E8")),
        pytest.param("", "..", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("DR-10", "FC-E9")),
        pytest.param("", "a/b", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("DR-10")),
        pytest.param("", "/abs/../x", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-E9")),
        pytest.param("", r"\\server\share", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("DR-10")),
        pytest.param("", "a\0b", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("DR-10")),
        pytest.param("", "link", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-E9", "DR-10")),
        pytest.param("", "n" * 256, "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-16")),
        pytest.param("", "/data/pickup/x", "DROP_PATH_UNSAFE", marks=pytest.mark.rule("FC-E9", "FC-24")),
    ],
)
def test_where_the_files_of_a_connector_go(site, tmp_path, root, name, expected):
    (tmp_path / "outside").mkdir()
    (site.drop.parent / "link").symlink_to(tmp_path / "outside")
    node = Node(
        name="n",
        root_drop_directory_path=str(tmp_path / root) if root else "",
        pickup_directory_path=site.node.pickup_directory_path,
    )
    directory = f"{tmp_path}{name}" if name.startswith("/") else name
    connector = ForeignConnector(name="Fax", drop_directory=directory)
    if expected.startswith("DROP_"):
        with pytest.raises(ConfigurationError) as caught:
            drop_directory.effective_path(connector, node)
        assert caught.value.code == expected
    else:
        assert drop_directory.effective_path(connector, node) == tmp_path / expected


@pytest.mark.rule("AM-2", "FC-11")
def test_absolute_directories_stand_below_the_allowed_roots(site, settings, tmp_path):
    settings.FCWEB_DROP_ROOTS = [str(tmp_path / "allowed")]

    run("connector", "set", "Fax", "--drop-directory", str(tmp_path / "allowed" / "fax"))
    with pytest.raises(CommandError, match="DROP_PATH_UNSAFE"):
        run("connector", "set", "Fax", "--drop-directory", str(tmp_path / "other"))


@pytest.mark.rule("FC-16")
def test_a_path_longer_than_windows_allows_is_a_warning(site, tmp_path):
    long = Path(tmp_path, *["d" * 100] * 3)

    _out, said = run("connector", "set", "Fax", "--drop-directory", str(long))

    assert "DROP_PATH_LONG: " in said


class TestExchangeLines:
    @pytest.mark.rule("FC-9")
    def test_get_with_null_shows_all_and_an_unknown_name_is_an_error(self, site):
        run("connector", "new", "foreign", "Second", "--address-space", "A:*")

        assert len(json.loads(run("connector", "exchange", "Get-ForeignConnector $null")[0])) == 2
        assert len(json.loads(run("connector", "exchange", "Get-ForeignConnector")[0])) == 2
        with pytest.raises(CommandError, match="CONNECTOR_NOT_FOUND"):
            run("connector", "exchange", "Get-ForeignConnector Nobody")

    @pytest.mark.rule("FC-6", "AS-7")
    def test_lists_are_added_to_and_removed_from(self, site):
        Node.objects.create(name="Hub01", fqdn="hub01")
        run(
            "connector",
            "exchange",
            'Set-ForeignConnector Fax -AddressSpaces @{Add="FAX:9*;3","SMS:*;1";Remove="FAX:*;1"} '
            "-SourceTransportServers @{Add='Hub01'} -IsScopedConnector $true -Comment 'It''s ours' "
            '-MaxMessageSize "10 MB (10,485,760 bytes)"',
        )

        fax = shown("connector", "get", "Fax")[0]
        assert fax["AddressSpaces"] == ["FAX:9*;3", "SMS:*;1"]
        assert fax["SourceTransportServers"] == ["Hub01", "node.test"]
        assert (fax["IsScopedConnector"], fax["Comment"], fax["MaxMessageSize"]) == (True, "It's ours", "10MB")

    def test_what_if_changes_nothing(self, site):
        for line in (
            "Set-ForeignConnector Fax -Enabled $false -WhatIf",
            "Remove-ForeignConnector Fax -WhatIf",
            'New-ForeignConnector Other -AddressSpaces "A:*" -WhatIf',
        ):
            assert run("connector", "exchange", line)[0].startswith("What if: ")

        assert [(c.name, c.enabled) for c in ForeignConnector.objects.all()] == [("Fax", True)]

    @pytest.mark.rule("FC-22")
    def test_a_remove_asks_first(self, site):
        with pytest.raises(CommandError, match="CONFIRMATION_REQUIRED"):
            run("connector", "exchange", "Remove-ForeignConnector Fax")
        assert ForeignConnector.objects.count() == 1

        run("connector", "exchange", "Remove-ForeignConnector Fax -Confirm:$false")
        assert ForeignConnector.objects.count() == 0

    @pytest.mark.parametrize(
        "line",
        [
            "Get-ForeignConnector Fax -Enabled $true",
            "Set-ForeignConnector Fax -Comment a -Comment b",
            "Set-ForeignConnector Fax stray",
            "Set-ForeignConnector Fax -Enabled maybe",
            "Set-ForeignConnector Fax -Comment",
            'Set-ForeignConnector Fax -Comment "open',
            "Set-ForeignConnector Fax -AddressSpaces @{Plus='A:*'}",
            "Delete-ForeignConnector Fax",
            "",
        ],
    )
    def test_a_line_that_cannot_be_meant_is_refused(self, site, line):
        with pytest.raises(CommandError, match="EXCHANGE_LINE_INVALID"):
            run("connector", "exchange", line)


def entries(model, action=None):
    found = LogEntry.objects.filter(content_type__model=model).order_by("pk")
    return list(found if action is None else found.filter(action=action))


class TestAudit:
    def test_a_change_by_command_names_the_unix_user_and_both_values(self, site):
        LogEntry.objects.all().delete()
        run("connector", "set", "Fax", "--comment", "new words")

        (entry,) = entries("foreignconnector")
        assert entry.changes["comment"] == ["FAX:*", "new words"]
        assert entry.additional_data == {"unix_user": audit.unix_user(), "command": "connector set"}
        assert entry.actor is None

    def test_lists_are_audited_too(self, site):
        Node.objects.create(name="hub1", fqdn="hub1")
        LogEntry.objects.all().delete()
        run(
            "connector",
            "set",
            "Fax",
            "--add-source-server=hub1",
            "--add-address-space=SMS:*",
            "--remove-address-space=FAX:*",
        )

        (servers,) = [e for e in entries("foreignconnector") if "source_transport_servers" in e.changes]
        assert servers.changes["source_transport_servers"] == {
            "type": "m2m",
            "operation": "add",
            "objects": ["hub1"],
        }
        assert [e.changes["space"] for e in entries("addressspace", LogEntry.Action.CREATE)] == [["None", "*"]]
        assert [e.changes["type"] for e in entries("addressspace", LogEntry.Action.DELETE)] == [["FAX", "None"]]
        assert all(e.additional_data["command"] == "connector set" for e in LogEntry.objects.all())

    def test_every_row_of_a_removal_is_audited(self, site):
        run("connector", "set", "Fax", "--add-address-space=SMS:*")
        LogEntry.objects.all().delete()
        run("connector", "remove", "Fax")

        assert len(entries("foreignconnector", LogEntry.Action.DELETE)) == 1
        deleted = entries("addressspace", LogEntry.Action.DELETE)
        assert sorted(e.changes["type"][0] for e in deleted) == ["FAX", "SMS"]
        assert all(e.additional_data["command"] == "connector remove" for e in LogEntry.objects.all())

    def test_node_domain_and_recipient_changes_are_audited(self, site):
        LogEntry.objects.all().delete()
        run("node", "set", "--settle-seconds=7")
        run("domain", "add", "b.test", "--default")
        run("recipient", "add", "mailbox", "bob@fcweb.test", "--proxy", "FAX:7")
        run("recipient", "remove", "bob@fcweb.test")

        assert entries("node")[0].changes["settle_seconds"] == ["0.0", "7.0"]
        assert {tuple(e.changes["is_default"]) for e in entries("accepteddomain")} == {
            ("True", "False"),
            ("None", "True"),
        }
        assert len(entries("proxyaddress", LogEntry.Action.DELETE)) == 2
        assert len(entries("directoryrecipient", LogEntry.Action.DELETE)) == 1
        commands = {e.additional_data["command"] for e in LogEntry.objects.all()}
        assert commands == {"node set", "domain add", "recipient add", "recipient remove"}

    def test_a_forecast_leaves_no_trace(self, site):
        LogEntry.objects.all().delete()
        before = ConfigGeneration.current()

        run("connector", "set", "Fax", "--enabled", "false", "--what-if")

        assert LogEntry.objects.count() == 0
        assert ConfigGeneration.current() == before


@pytest.mark.rule("FC-13", "FC-14", "DR-9")
def test_a_directory_that_is_made_belongs_to_the_service_and_its_group(site):
    site.drop.rmdir()

    run("connector", "create-directory", "Fax")

    status = site.drop.stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o2770, os.geteuid())
