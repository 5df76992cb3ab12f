"""What counts as a message that carries winmail.dat."""

import pytest

from connectors.mail import tnef

pytestmark = pytest.mark.rule("DR-21")
PART = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"


@pytest.mark.parametrize(
    ("content", "carried"),
    [
        (b"Content-Type: application/ms-tnef\r\n\r\nxx", True),
        (PART + b"Content-Type: application/MS-TNEF;\r\n name=x\r\n\r\nxx", True),
        (PART + b"Content-Type: application/octet-stream;\r\n\tname=WinMail.dat\r\n\r\nxx", True),
        (PART + b"Content-Disposition: attachment; filename=winmail.dat\n\nxx", True),
        (b"Subject: winmail.dat\r\n\r\nI cannot open winmail.dat (application/ms-tnef)\r\n", False),
        (PART + b"Content-Type: text/plain\r\n\r\nwinmail.dat\r\n", False),
        (PART + b"x" * 65536 + b"\r\nContent-Type: application/ms-tnef\r\n", False),
        (b"", False),
    ],
)
def test_only_a_field_near_the_start_counts(content, carried):
    assert tnef.is_carried_by(content) is carried
