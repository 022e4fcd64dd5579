import smtplib
import subprocess
import time

import pytest


@pytest.fixture
def start(tmp_path):
    """Starts an SMTP server that fails as ordered; its port."""
    processes = []

    def start(*faults):
        (tmp_path / "faults").write_text("\n".join(faults) + "\n")
        processes.append(subprocess.Popen([
            "smtp-handler", "--listen", "0", "--port-file", tmp_path / "port",
            "--tls", "off", "--no-auth-required",
            "--maildir", tmp_path / "mail", "--faults", tmp_path / "faults"]))
        while not (tmp_path / "port").exists():
            assert processes[-1].poll() is None
            time.sleep(0.01)
        return int((tmp_path / "port").read_text())

    yield start
    for process in processes:
        process.terminate()
        process.wait()


def send(port, recipient):
    """In place of the client that is to be tested: it tries three times."""
    for _ in range(3):
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=1) as server:
                server.sendmail("me@example.org", recipient,
                                "Subject: x\r\n\r\nHello\r\n")
                return True
        except (OSError, smtplib.SMTPException):
            pass
    return False


def mails(tmp_path):
    return len(list((tmp_path / "mail").glob("new/*")))


def test_greylisting(start, tmp_path):
    port = start("rcpt * first 2 451 4.7.1 Greylisted")
    assert send(port, "you@example.org")
    assert mails(tmp_path) == 1


def test_full_mailbox(start, tmp_path):
    port = start("rcpt full@* 452 4.2.2 Mailbox is full")
    assert not send(port, "full@example.org")
    assert send(port, "you@example.org")


def test_lost_reply(start, tmp_path):
    """Nobody can know whether it was taken: the message comes twice."""
    port = start("message * first 1 lose-reply")
    assert send(port, "you@example.org")
    assert mails(tmp_path) == 2


def test_slow_server(start, tmp_path):
    port = start("mail * first 1 delay 2")
    assert send(port, "you@example.org")
